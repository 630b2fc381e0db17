"""The reader of assembly sees what test_machine_code.py looks for."""

import pytest

from bench.assembly import AARCH64, SSE, X86, Function

ON_X86 = """
other:
	vfmadd231ps	%zmm0, %zmm1, %zmm2
.Lfunc_end0:
kernel:
	.cfi_startproc
	pushq	%rbp
	vmovups	%zmm5, 64(%rsp)
	testq	%rdi, %rdi
	jle	.LBB1_5
.LBB1_1:                                # %outer
	callq	first
	.p2align	4
.LBB1_2:                                # =>This Inner Loop
	vbroadcastss	(%rsi), %zmm0
	movq	%rax, 8(%rsp)
	vfmadd231ps	(%rdx), %zmm0, %zmm1
	jne	.LBB1_4
	vfmadd231ps	192(%rsp), %zmm0, %zmm2
	vfmadd231ps	%ymm0, %ymm0, %ymm3
	vmovups	%zmm2, 128(%rsp)
	decq	%rcx
	jne	.LBB1_2
	decq	%rbx
	jne	.LBB1_1
	jmp	.LBB1_5
.LBB1_4:                                # a cold part of the inner loop
	vfmadd231ss	%xmm0, %xmm0, %xmm3
	jmp	.LBB1_2
.LBB1_5:
	vaddps	%zmm0, %zmm1, %zmm1
	popq	%rbp
	retq
.Lfunc_end1:
"""

ON_SSE = """
kernel:
.LBB0_1:
	mulps	%xmm1, %xmm0
	addps	%xmm0, %xmm2
	movaps	%xmm2, (%rsp)
	jne	.LBB0_1
.LBB0_2:
	addps	%xmm0, %xmm3
	jne	.LBB0_2
	retq
.Lfunc_end0:
"""

ON_AARCH64 = """
kernel:
	str	q0, [sp, #16]
.LBB0_1:
	ldr	q1, [x1], #16
	ldr	q2, [sp, #16]
	fmla	v0.4s, v1.4s, v2.s[0]
	str	x0, [sp, #8]
	bl	helper
	subs	x2, x2, #1
	b.ne	.LBB0_1
.LBB0_2:
	fadd	v0.4s, v1.4s, v2.4s
	cbnz	x3, .LBB0_2
	ret
.Lfunc_end0:
"""


def test_an_innermost_loop_is_found_with_its_cold_part():
    (loop,) = Function(ON_X86, "kernel", X86).innermost_loops()
    assert loop.multiply_adds(16) == 2
    assert loop.multiply_adds(8) == 1
    assert loop.multiply_adds(4) == 0
    assert loop.instructions[-1].startswith("jmp")
    assert "vfmadd231ss" in loop.instructions[-2]
    assert loop.spills == ["vfmadd231ps\t192(%rsp), %zmm0, %zmm2", "vmovups\t%zmm2, 128(%rsp)"]
    assert loop.calls == []


def test_the_rest_of_a_function_is_read_too():
    code = Function(ON_X86, "kernel", X86).code
    assert code.calls == ["callq\tfirst"]
    assert len(code.spills) == 3
    assert code.multiply_adds(16) == 2
    assert code.adds(16) == 1


def test_two_instructions_make_a_multiply_add():
    products, sums = Function(ON_SSE, "kernel", SSE).innermost_loops()
    assert products.multiply_adds(4) == 1
    assert products.spills == ["movaps\t%xmm2, (%rsp)"]
    assert sums.multiply_adds(4) == 0
    assert sums.adds(4) == 1


def test_aarch64():
    first, second = Function(ON_AARCH64, "kernel", AARCH64).innermost_loops()
    assert first.multiply_adds(4) == 1
    assert first.calls == ["bl\thelper"]
    assert first.spills == ["ldr\tq2, [sp, #16]"]
    assert second.multiply_adds(4) == 0
    assert second.adds(4) == 1


def test_a_function_that_is_not_there_is_an_error():
    with pytest.raises(LookupError, match="kernels"):
        Function(ON_X86, "kernels", X86)
