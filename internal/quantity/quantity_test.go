package quantity

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDigits(t *testing.T) {
	for n, want := range map[int]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 9544: "9,544", 123456: "123,456", 1234567: "1,234,567",
		-1: "-1", -999: "-999", -1000: "-1,000", -123456: "-123,456",
	} {
		assert.Equal(t, want, Digits(n))
	}
}

func TestCount(t *testing.T) {
	assert.Equal(t, "0 batches", Count(0, "batch", "batches"))
	assert.Equal(t, "1 batch", Count(1, "batch", "batches"))
	assert.Equal(t, "1,061 batches", Count(1061, "batch", "batches"))
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 MB", 1: "1 MB", 364_000_001: "365 MB", 999_999_999: "1000 MB", 1_000_000_000: "1.0 GB", 1_449_000_000: "1.4 GB"} {
		assert.Equal(t, want, Bytes(n), "%d", n)
	}
}
