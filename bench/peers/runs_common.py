"""What the peers of bench/runs.go have in common."""


def multiplies_bfloat16():
    """Whether the CPU has instructions for products of bfloat16 (AMX or AVX512-BF16); others only emulate them."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        flags = next((line.split() for line in f if line.startswith("flags")), [])
    return "amx_bf16" in flags or "avx512_bf16" in flags
