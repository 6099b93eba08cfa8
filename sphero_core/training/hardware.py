"""What the machine at hand can multiply."""

from __future__ import annotations

from pathlib import Path

#: Names under which Linux lists products of bfloat16 numbers: x86 AVX-512 and AMX, and Arm.
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
CPUINFO = Path("/proc/cpuinfo")


def multiplies_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor has bfloat16 products of its own.

    Where it has none they are emulated: a training step in mixed precision then takes several times as long as one in float32.

    Parameters
    ----------
    cpuinfo : Path
        Linux's description of the processor; False where there is none.
    """
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return any(BFLOAT16_FLAGS & set(each) for each in flags)
