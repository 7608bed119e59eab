#!/usr/bin/env python3
"""Link-time stand-ins for CUDA's libraries, made from the lists of functions in cudarc's source.

usage: stand_ins.py CUDARC_FOLDER OUTPUT_FOLDER

Each library becomes a static one with a small jump for each of its functions. At the first call the real library is
opened and the jump goes there. A program that was linked with them has no dynamic dependency on CUDA: it starts on any
machine, and where a library is missing its functions return that library's own "not initialised", which comes back to the
program as an ordinary error.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Library: module of cudarc, prefix of its functions, file name, what they return when it is missing.
LIBRARIES = {
    "cuda": ("driver", "cu", "libcuda.so.1", 100),  # CUDA_ERROR_NO_DEVICE
    "nvrtc": ("nvrtc", "nvrtc", "libnvrtc.so.13", 11),  # NVRTC_ERROR_INTERNAL_ERROR
    "curand": ("curand", "curand", "libcurand.so.10", 101),  # CURAND_STATUS_NOT_INITIALIZED
    "cublas": ("cublas", "cublas", "libcublas.so.13", 1),  # CUBLAS_STATUS_NOT_INITIALIZED
    "cublasLt": ("cublaslt", "cublas", "libcublasLt.so.13", 1),
}
# Opened first, from the same folder: what a library looks for by name.
BEFORE = {"nvrtc": "libnvrtc-builtins.so.13.0", "cublas": "libcublasLt.so.13"}

FINDER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define FILE_NAME "@FILE@"
#define BEFORE "@BEFORE@"

static long missing(void) { return @CODE@; }

static long missing_text(int error, const char **text) {
  *text = error == 100 ? FILE_NAME " was not found: there is no NVIDIA driver" : "(there is no driver to name this error)";
  return 0;
}

static void *open_in(const char *folder) {
  char path[4096];
  if (BEFORE[0] && (size_t)snprintf(path, sizeof path, "%s/" BEFORE, folder) < sizeof path) {
    dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  }
  if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, folder) >= sizeof path) return 0;
  return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

/* What the system knows, then where toolkits and Python's packages put it. */
static void *open_library(void) {
  void *library = dlopen(FILE_NAME, RTLD_NOW | RTLD_GLOBAL);
  const char *folders[] = {getenv("CUDA_LIB_DIR"), "/usr/local/cuda/lib64", "/usr/local/nvidia/lib64"};
  for (unsigned i = 0; !library && i < sizeof folders / sizeof *folders; i++) {
    if (folders[i]) library = open_in(folders[i]);
  }
  const char *environment = getenv("VIRTUAL_ENV");
  const char *patterns[] = {"%s/lib/python3*/site-packages/nvidia/*/lib", "/usr/local/lib/python3*/dist-packages/nvidia/*/lib"};
  for (unsigned i = environment ? 0 : 1; !library && i < 2; i++) {
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, patterns[i], environment ? environment : "");
    if (glob(pattern, 0, 0, &found) == 0) {
      for (size_t j = 0; !library && j < found.gl_pathc; j++) library = open_in(found.gl_pathv[j]);
    }
    globfree(&found);
  }
  return library;
}

__attribute__((visibility("hidden"))) void *stand_in_find_@LIBRARY@(const char *name) {
  static void *library;
  static int tried;
  if (!__atomic_load_n(&tried, __ATOMIC_ACQUIRE)) {
    void *opened = open_library();
    library = opened;
    __atomic_store_n(&tried, 1, __ATOMIC_RELEASE);
  }
  void *function = library ? dlsym(library, name) : 0;
  if (function) return function;
  if (library) fprintf(stderr, "%s has no function %s\n", FILE_NAME, name);
  int text = !strcmp(name, "cuGetErrorString") || !strcmp(name, "cuGetErrorName");
  return text && !library ? (void *)missing_text : (void *)missing;
}
"""

# Keeps every register that may hold an argument, asks for the address, and jumps there with the stack as it was.
INTEGERS = ["rdi", "rsi", "rdx", "rcx", "r8", "r9", "rax", "r10"]
SLOW = """
  .text
  .hidden stand_in_slow_{library}
  .globl stand_in_slow_{library}
  .type stand_in_slow_{library}, @function
stand_in_slow_{library}:            # r11: name, r10: where the address is kept
  .cfi_startproc
  push %rbp
  mov %rsp, %rbp
  and $-16, %rsp
  sub $208, %rsp
{save}
  mov %r11, %rdi
  call stand_in_find_{library}
  mov %rax, %r11
{restore}
  leave
  mov %r11, (%r10)
  jmp *%r11
  .cfi_endproc
"""

JUMP = """
  .section .text.{name},"ax",@progbits
  .globl {name}
  .type {name}, @function
{name}:
  mov .Lslot_{name}(%rip), %r11
  test %r11, %r11
  je 1f
  jmp *%r11
1: lea .Lname_{name}(%rip), %r11
  lea .Lslot_{name}(%rip), %r10
  jmp stand_in_slow_{library}
  .section .bss.{name},"aw",@nobits
  .balign 8
.Lslot_{name}: .zero 8
  .section .rodata.{name},"a",@progbits
.Lname_{name}: .asciz "{name}"
"""


def slow(library):
    registers = [("mov", r, 8 * i) for i, r in enumerate(INTEGERS)]
    registers += [("movups", f"xmm{i}", 64 + 16 * i) for i in range(8)]
    save = "\n".join(f"  {move} %{register}, {at}(%rsp)" for move, register, at in registers)
    restore = "\n".join(f"  {move} {at}(%rsp), %{register}" for move, register, at in registers)
    return SLOW.format(library=library, save=save, restore=restore)


def main(cudarc, output):
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    for library, (module, prefix, file, code) in LIBRARIES.items():
        source = pathlib.Path(cudarc, "src", module, "sys", "mod.rs").read_text()
        names = sorted(set(re.findall(rf"\bfn ({prefix}[A-Z]\w*)\(", source)))
        finder = FINDER
        for key, value in {"FILE": file, "BEFORE": BEFORE.get(library, ""), "CODE": str(code), "LIBRARY": library}.items():
            finder = finder.replace(f"@{key}@", value)
        jumps = slow(library) + "".join(JUMP.format(name=name, library=library) for name in names)
        with tempfile.TemporaryDirectory() as work:
            work = pathlib.Path(work)
            (work / "finder.c").write_text(finder)
            (work / "jumps.s").write_text(jumps + '\n  .section .note.GNU-stack,"",@progbits\n')
            objects = [work / f"{library}_finder.o", work / f"{library}_jumps.o"]
            subprocess.check_call(["cc", "-O2", "-fPIC", "-c", "-o", objects[0], work / "finder.c"])
            subprocess.check_call(["cc", "-c", "-o", objects[1], work / "jumps.s"])
            archive = output / f"lib{library}.a"
            archive.unlink(missing_ok=True)
            subprocess.check_call(["ar", "rcs", archive, *objects])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
