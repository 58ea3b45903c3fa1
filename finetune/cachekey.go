package finetune

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/data"
)

// fileKey says what the kept output of a data set depends on, so that a file of that key can be read in place of
// computing it: the program and libtorch, the processor and what chooses kernels, the model's configuration, the frozen
// weights and buffers, the inputs, and the grouping of the samples. "" is the key where some of it cannot be told; why
// says what.
func (r *run[B]) fileKey(plan *Plan, of split[B]) (key, why string) {
	keyed, ok := any(of.set).(data.Keyed)
	inputs := ""
	if ok {
		inputs = keyed.InputKey(of.random)
	}
	if inputs == "" {
		return "", "the data does not tell when it changes (data.Keyed)"
	}
	h := sha256.New()
	if err := hashModel(h, r.model); err != nil {
		return "", fmt.Sprintf("the model does not tell its configuration: %v", err)
	}
	program, err := programID()
	if err != nil {
		return "", fmt.Sprintf("the program cannot be told from others: %v", err)
	}
	fmt.Fprintf(h, "%q\n%q\n%q\n", program, machine(r.backend.Device()), inputs)
	fmt.Fprintln(h, r.forward.Precision, torch.NumThreads(), r.options.Deterministic, r.folds(), plan.viewsOf(of.random))
	for _, v := range plan.values {
		fmt.Fprintln(h, v.dtype, v.kept, v.row)
	}
	for _, s := range plan.Stages[:plan.NumFrozen] {
		fmt.Fprintf(h, "%q %t\n", s.Name, s.PerSample)
		s.hash(h)
	}
	var numbers []byte
	for _, request := range of.batches {
		numbers = binary.AppendVarint(numbers[:0], int64(len(request.Indices)))
		numbers = binary.AppendVarint(numbers, int64(request.Length))
		for _, i := range request.Indices {
			numbers = binary.AppendVarint(numbers, int64(i))
		}
		h.Write(numbers)
	}
	return hex.EncodeToString(h.Sum(nil))[:32], ""
}

// hash adds the values of the stage's parameters and buffers.
func (s *StagePlan) hash(h hash.Hash) {
	for _, p := range s.params {
		hashTensor(h, p.Named)
	}
	for _, b := range s.buffers {
		hashTensor(h, b)
	}
}

func hashTensor(h hash.Hash, n torch.Named) {
	fmt.Fprintf(h, "%q %v %v %x\n", n.Name, n.Tensor.Shape(), n.Tensor.DType(), n.Tensor.Digest())
}

// hashModel hashes what a model writes beside its weights: the same weights may be those of another activation.
func hashModel(h hash.Hash, model any) error {
	saver, ok := model.(ConfigSaver)
	if !ok {
		return errors.New("it has no method SaveConfig")
	}
	folder, err := os.MkdirTemp("", "thaw-config-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	if err := saver.SaveConfig(folder); err != nil {
		return err
	}
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		fmt.Fprintf(h, "%q %d\n", d.Name(), len(content))
		h.Write(content)
		return err
	})
}

// programID tells builds of programs apart: by what go build has hashed of all that is in one.
var programID = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	if id := buildID(path); id != "" {
		return id, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
})

// buildID is that of a program's file; "" where it has none. The note is a length of the name, one of the text, a type,
// the name and the text.
func buildID(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	section := f.Section(".note.go.buildid")
	if section == nil {
		return ""
	}
	note, err := section.Data()
	if err != nil || len(note) < 16 {
		return ""
	}
	if n := int(f.ByteOrder.Uint32(note[4:])); n > 0 && n <= len(note)-16 {
		return string(note[16 : 16+n])
	}
	return ""
}

// kernelVariables are those that have libraries choose other kernels.
var kernelVariables = []string{
	"THAW_WINOGRAD", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "NVIDIA_TF32_OVERRIDE",
}

// machine says what computes, where another would perhaps come to other last digits.
func machine(device torch.Device) string {
	parts := []string{torch.Version(), torch.CPUCapability(), processor(), fmt.Sprint(device.Type == torch.CPUType)}
	if device.Type == torch.CUDAType {
		if devices, err := cuda.Devices(); err == nil && device.Index < len(devices) {
			parts = append(parts, devices[max(0, device.Index)].Name)
		}
	}
	for _, name := range kernelVariables {
		parts = append(parts, name+"="+os.Getenv(name))
	}
	return strings.Join(parts, "\n")
}

// processor is what the processor calls itself; "" where the system does not say.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
