"""What the figures were measured on and with."""

import os
import platform
import re
import subprocess
from pathlib import Path

# What the kernels of either side ask for.
FEATURES = (
    "avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16",
    "amx_int8", "asimd", "asimddp", "i8mm", "sve",
)


def machine() -> dict[str, str]:
    """In public terms: kind and features of the processor, cores, cache, memory, load."""
    cpu = Path("/proc/cpuinfo").read_text()

    def field(name: str, text: str) -> str:
        found = re.search(rf"^{name}\s*:\s*(.*)$", text, re.M)
        return found.group(1) if found else ""

    flags = set((field("flags", cpu) or field("Features", cpu)).split())
    caches = Path("/sys/devices/system/cpu/cpu0/cache")
    sizes = [(c / "level").read_text().strip() + ": " + (c / "size").read_text().strip() for c in caches.glob("index*")]
    memory = int(re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.M).group(1)) >> 20
    model = field("model name", cpu) or platform.machine()
    family = f"{field('cpu family', cpu)}/{field('model', cpu)}"
    return {
        "machine": f"{os.cpu_count()} cores of {model} (family/model {family}), {memory} GiB",
        "instruction sets": " ".join(f for f in FEATURES if f in flags),
        "caches by level": ", ".join(sorted(set(sizes))),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def said(*command) -> str:
    """What a program says when asked; empty when it is not there."""
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return (done.stdout or done.stderr).strip()


def versions(bench) -> dict[str, str]:
    llama = re.search(r"version: .*", said(bench.tool("llama-server"), "--version"))
    (source,) = bench.work.glob("llama_cpp_python-*/vendor")
    environment = {name: value for name, value in os.environ.items() if name.startswith("TUREEN__")}
    return {
        "Tureen": f"{said(bench.options.tureen, '--version')}, commit {said('git', 'describe', '--always', '--dirty')}",
        "Tureen's settings": " ".join(f"{k}={v}" for k, v in sorted(environment.items())) or "the defaults",
        "llama.cpp": f"{llama.group(0) if llama else 'unknown'}, from {source.parent.name}, "
        f"flash attention {bench.options.flash}, adapters {bench.options.adapters}",
        "compilers": f"{said('rustc', '--version')}; {said('c++', '--version').splitlines()[0]}",
    }
