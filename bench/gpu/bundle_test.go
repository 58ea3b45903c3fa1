// Package gpu holds no Go code but these tests: it is the folder of the scripts that make and run the GPU bundle.
package gpu

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A host that lacks something is told so in one line.
func TestOneLineSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		step   string
		change func(h *host)
		want   string
	}{
		"no libtorch": {"doctor", func(h *host) {}, "no libtorch found: install torch 2.11.0 for CUDA in this machine's Python, or name its folder with LIBTORCH"},
		"LIBTORCH": {"test", func(h *host) { h.torch("2.11.0", true); h.env["LIBTORCH"] = "/nowhere" },
			"LIBTORCH is /nowhere: there is no libtorch_cuda.so in it nor in its lib"},
		"no CUDA in it":   {"doctor", func(h *host) { h.torch("2.11.0+cpu", false) }, "has no CUDA (no lib/libtorch_cuda.so): install torch 2.11.0 for CUDA"},
		"another version": {"all", func(h *host) { h.torch("2.9.1+cu128", true) }, "is 2.9.1+cu128: the bundle was built with 2.11.0"},
		"no version": {"all", func(h *host) { h.write(filepath.Join(h.torch("2.11.0", true), "version.py"), "") },
			"is of an unknown version: the bundle was built with 2.11.0"},
		"old glibc": {"all", func(h *host) {
			h.torch("2.11.0", true)
			os.Remove(filepath.Join(h.bin, "getconf"))
			h.write(filepath.Join(h.bin, "getconf"), "#!/bin/sh\necho glibc 2.31\n")
		}, "this system has glibc 2.31: the bundle needs 2.36 or later"},
		"it does not start": {"all", func(h *host) { h.torch("2.11.0", true); h.env["THAW_VERSION_CODE"] = "1" },
			"the program does not start with the libtorch in "},
		"noexec": {"all", func(h *host) { h.torch("2.11.0", true); h.env["THAW_VERSION_CODE"] = "126" }, "programs may not run in "},
		"full disk": {"all", func(h *host) { // nothing that is written stays
			os.Remove(filepath.Join(h.bin, "python3"))
			h.write(filepath.Join(h.bin, "python3"), "#!/bin/sh\nrm -rf \"$4\"\necho Traceback >&2\necho 'OSError: [Errno 28] No space left' >&2\nexit 1\n")
		}, ", 90 MB: OSError: [Errno 28] No space left\n"},
		"CUDA 12": {"all", func(h *host) { h.torch("2.11.0+cu126", true) },
			"is 2.11.0+cu126: the bundle needs the build for CUDA 13 (torch 2.11.0 as pip installs it by default, +cu130)"},
		"a CPU's": {"all", func(h *host) { h.torch("2.11.0+cpu", true) }, "is 2.11.0+cpu: the bundle needs the build for CUDA 13"},
		"no device": {"all", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["BREAK"], h.env["PROBLEM"] = "device", `"cuda: cuda: devices: no NVIDIA driver answers on this machine: a GPU's driver must be installed"`
		}, "no NVIDIA driver answers on this machine: a GPU's driver must be installed\n"},
		"no device for bench": {"bench", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["BREAK"], h.env["PROBLEM"] = "device", `"cuda: no NVIDIA driver answers on this machine"`
		}, "no NVIDIA driver answers on this machine\n"},
		"damaged": {"all", func(h *host) {
			h.write(filepath.Join(h.bundle, "MANIFEST"), strings.Repeat("0", 64)+"  payload/bin/thaw\n")
		}, "is damaged: bin/thaw: FAILED"},
		"cut off": {"all", func(h *host) { h.write(filepath.Join(h.bundle, "payload.tar.xz"), "x") }, "cannot unpack "},
		"OUT":     {"all", func(h *host) { h.write(h.out, "a file") }, "cannot write to "},
		"DEVICE":  {"all", func(h *host) { h.env["DEVICE"] = "tpu" }, "DEVICE is tpu: write cuda or cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.change(h)
			_, stderr, code := h.run(c.step)
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "thaw: ") || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, stderr %q, want one line with %q", code, stderr, c.want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	h := newHost(t)
	if _, stderr, code := h.run("everything"); code != 2 || !strings.HasPrefix(stderr, "usage: run.sh doctor|") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if stdout, _, code := h.run("--help"); code != 0 || !strings.Contains(stdout, "LIBTORCH") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
}

// What LIBTORCH names comes first; the library path has torch's folder, that of its wheels, and what was there before.
func TestLibtorchIsFound(t *testing.T) {
	h := newHost(t)
	folder := h.torch("2.11.0+cu130", true)
	h.env["LD_LIBRARY_PATH"] = "/driver"
	other := filepath.Join(t.TempDir(), "libtorch")
	h.write(filepath.Join(other, "lib/libtorch_cuda.so"), "")
	h.write(filepath.Join(other, "include/torch/headeronly/version.h"), "#define TORCH_VERSION \\\n  \"2.11.0\"\n")
	for _, c := range []struct{ libtorch, want string }{
		{"", folder + "/lib:" + filepath.Dir(folder) + "/nvidia/cu13/lib:"},
		{other, other + "/lib:"},
		{other + "/lib", other + "/lib:"},
	} {
		h.env["LIBTORCH"] = c.libtorch
		stdout, stderr, code := h.run("doctor")
		if code != 0 || !strings.Contains(stdout, "libtorch 2.11.0 in "+c.want) || !strings.Contains(stdout, ":/driver\n") {
			t.Errorf("LIBTORCH %q: exit code %d, stdout %q, stderr %q", c.libtorch, code, stdout, stderr)
		}
	}
}

// CUDA's libraries lie beside a link to torch's folder, and beside the folder itself; for the CPU, a build for it does.
func TestLibtorchBehindALink(t *testing.T) {
	h := newHost(t)
	folder := h.torch("2.11.0+cpu", true)
	store := filepath.Join(t.TempDir(), "store")
	h.write(filepath.Join(store, "nvidia/cudnn/lib/libcudnn.so.9"), "")
	if err := os.Rename(folder, filepath.Join(store, "torch")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(store, "torch"), folder); err != nil {
		t.Fatal(err)
	}
	h.env["DEVICE"] = "cpu"
	want := folder + "/lib:" + filepath.Dir(folder) + "/nvidia/cu13/lib:" + store + "/nvidia/cudnn/lib:"
	for _, libtorch := range []string{"", folder} {
		h.env["LIBTORCH"] = libtorch
		if stdout, stderr, code := h.run("doctor"); code != 0 || !strings.Contains(stdout, "libtorch 2.11.0 in "+want) {
			t.Errorf("LIBTORCH %q: exit code %d, stdout %q, stderr %q", libtorch, code, stdout, stderr)
		}
	}
}
