// Package third_party holds no Go code: it is the folder of the lock file and the script that bring libtorch.
//
// wheels.lock names every native file by version and sha256; fetch.sh brings them with pip, unpacks them once
// per machine into $THAW_CACHE (by default ~/.cache/thaw), and links them to third_party/libtorch:
//
//	include/       libtorch's headers
//	include/cuda/  the headers of CUDA that the set brings
//	lib/           every library, in one folder, so that one rpath serves
//	licenses/      a folder a package
//
// In a program of another module, once per machine and after each new version of Thaw:
//
//	go mod download github.com/thaw-ml/thaw && bash "$(go list -m -f '{{.Dir}}' github.com/thaw-ml/thaw)/third_party/fetch.sh"
//
// As a module's folder in the module cache is read-only, the link is then made beside it, as
// thaw-libtorch-VERSION. go mod vendor copies neither this folder nor the link: see fetch.sh --help.
package third_party
