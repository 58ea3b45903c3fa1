package third_party

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// deb makes a Debian package, a line in the lock, and an apt-get that has it in the machine's lists, or, if fresh,
// only after an update of lists of its own. Without a list apt-get says what the real one says.
func (m *machine) deb(sets, name, version string, fresh bool, files map[string]string) (path string) {
	m.t.Helper()
	dpkg, err := exec.LookPath("dpkg-deb")
	if err != nil {
		m.t.Skip("Debian packages are brought on Debian only: ", err)
	}
	for _, tool := range []string{dpkg, "cat", "gzip", "tar"} { // dpkg-deb runs the others
		path, err := exec.LookPath(tool)
		require.NoError(m.t, err)
		_ = os.Symlink(path, filepath.Join(m.bin, filepath.Base(tool)))
	}
	var data bytes.Buffer
	data.WriteString("!<arch>\n")
	for _, member := range []struct{ name, body string }{
		{"debian-binary", "2.0\n"},
		{"control.tar.gz", tarOf(m.t, map[string]string{"./control": "Package: " + name + "\nVersion: " + version + "\n"})},
		{"data.tar.gz", tarOf(m.t, files)},
	} {
		fmt.Fprintf(&data, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", member.name, 0, 0, 0, 0o644, len(member.body), member.body)
		if len(member.body)%2 == 1 {
			data.WriteByte('\n')
		}
	}
	path = filepath.Join(m.wheels, name+".deb")
	m.write(path, data.String())
	m.lockLines = append(m.lockLines, fmt.Sprintf("%s %s %s deb %x", sets, name, version, sha256.Sum256(data.Bytes())))
	needsUpdate := ""
	if fresh {
		needsUpdate = `
lists=
for arg; do [[ $arg != Dir::State::Lists=* ]] || lists=${arg#*=}; done
if [[ $* == *" update" ]]; then : >"$lists/here"; exit; fi
if [[ ! -e $lists/here ]]; then echo "E: Unable to locate package ` + name + `" >&2; exit 100; fi`
	}
	m.command("apt-get", `[[ $* == *"`+name+`=`+version+`" || $* == *" update" ]] || exit 100`+needsUpdate+`
exec cp `+path+` .`)
	return path
}

var fashionFiles = map[string]string{
	"./usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz": "images",
	"./usr/share/doc/dataset-fashion-mnist/copyright":               "MIT",
	"./usr/share/doc/dataset-fashion-mnist/utils/helper.py":         "pass",
}

func TestFetchDebianPackage(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{false, true} {
		m := newMachine(t, "checkout")
		m.deb("fashion-mnist", "dataset-fashion-mnist", "0.0~git1-1", fresh, fashionFiles)
		m.python(`[[ $* != *pip* ]] || { echo "no pip" >&2; exit 1; }`)
		m.command("g++", "exit 1") // data needs neither pip nor a compiler
		m.must("--set", "fashion-mnist")
		m.has(filepath.Join(m.root, "examples", "fashion", "data"),
			".complete", "train-images-idx3-ubyte.gz", "licenses/dataset_fashion_mnist/copyright")
		m.nothingHalfMade()

		m.env["PYTHON"] = "/bin/false"
		m.command("apt-get", "exit 1")
		m.must("--set", "fashion-mnist")
	}
}

func TestFetchStamps(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.deb("stamps", "tuxpaint-stamps-default", "2022.06.04-1", false, map[string]string{
		"./usr/share/tuxpaint/stamps/food/fruit/apple_red.png":  "photograph",
		"./usr/share/tuxpaint/stamps/food/fruit/apple_red.txt":  "A red apple.",
		"./usr/share/tuxpaint/stamps/sports/soccer.ogg":         "sound",
		"./usr/share/tuxpaint/stamps/symbols/shapes/star.png":   "drawing",
		"./usr/share/doc/tuxpaint-stamps-default/copyright":     "GPL-2",
		"./usr/share/doc/tuxpaint-stamps-default/changelog.gz":  "changes",
		"./usr/share/lintian/overrides/tuxpaint-stamps-default": "none",
	})
	m.must("--set", "stamps")
	m.has(filepath.Join(m.root, "examples", "stamps", "data"),
		".complete", "food/fruit/apple_red.png", "licenses/tuxpaint_stamps_default/copyright")
	m.nothingHalfMade()
}
