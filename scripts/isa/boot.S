# The whole firmware of the emulated machine: enters Linux at its 32-bit entry point (Documentation/arch/x86/boot.rst), where
# the emulator has put it. Assembled with KERNEL, INITRD, INITRD_SIZE and MEMORY, and with the files vmlinuz and cmdline.
        .set    ROM, 0xf0000
        .set    PARAMS, 0x90000

        .code16
start:  cli
        lgdtl   %cs:table - start
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $0x10, $ROM + flat - start

        .code32
flat:   movl    $0x18, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        # Linux writes to its parameters.
        movl    $ROM + params - start, %esi
        movl    $PARAMS, %edi
        movl    $0x1000, %ecx
        rep movsb
        movl    $PARAMS, %esi
        xorl    %ebx, %ebx
        xorl    %edi, %edi
        xorl    %ebp, %ebp
        movl    $KERNEL, %eax
        jmp     *%eax

        .balign 8
gdt:    .quad   0, 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
table:  .word   table - gdt - 1
        .long   ROM + gdt - start

        # The zero page: the kernel's own header, in which some fields are for the loader to fill.
        .balign 16
params: .org    params + 0x1e8
        .byte   2                               # entries of the memory map
        .org    params + 0x1f1
        .incbin "vmlinuz", 0x1f1, 0x210 - 0x1f1
        .byte   0xff                            # a loader without a number
        .incbin "vmlinuz", 0x211, 0x214 - 0x211
        .long   KERNEL, INITRD, INITRD_SIZE
        .incbin "vmlinuz", 0x220, 0x228 - 0x220
        .long   PARAMS + line - params
        .incbin "vmlinuz", 0x22c, 0x26c - 0x22c
        .org    params + 0x2d0                  # the memory map: start, bytes, 1 for usable
        .quad   0, PARAMS + 0xf000
        .long   1
        .quad   0x100000, MEMORY - 0x100000
        .long   1
        .org    params + 0x800
line:   .incbin "cmdline"
        .byte   0
        .org    params + 0x1000

        # Where the CPU begins.
        .org    start + 0xfff0
        .code16
        ljmpw   $ROM >> 4, $0
        .org    start + 0x10000
