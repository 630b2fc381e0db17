"""The LLVM code of memory.py."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types

from fastdw.tile.values import I8, I32, I64, Lowering, lowering

I1 = ir.IntType(1)
TASK = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I64, I64])


def word(builder, address):
    return builder.inttoptr(address, I64.as_pointer())


@lowering
def peek(address) -> Lowering:
    return types.intp, lambda builder, address: builder.load(word(builder, address))


@lowering
def poke(address, value) -> Lowering:
    def generate(builder, address, value):
        builder.store(value, word(builder, address))

    return types.void, generate


@lowering
def move(target, source, n_bytes) -> Lowering:
    def generate(builder, *values):
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I8.as_pointer(), I64, I1])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memmove.p0.p0.i64")
        target, source = (builder.inttoptr(value, I8.as_pointer()) for value in values[:2])
        builder.call(function, [target, source, values[2], I1(0)])

    return types.void, generate


@lowering
def prefetch(address) -> Lowering:
    def generate(builder, address):
        kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I32, I32, I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.inttoptr(address, I8.as_pointer()), I32(0), I32(2), I32(1)])  # to read, second level, data

    return types.void, generate


@lowering
def take(address) -> Lowering:
    return types.intp, lambda builder, address: builder.atomic_rmw("add", word(builder, address), I64(1), "monotonic")


@lowering
def arrive(address, count) -> Lowering:
    def generate(builder, address, count):
        builder.atomic_rmw("add", word(builder, address), count, "release")

    return types.void, generate


@lowering
def arrived(address) -> Lowering:
    return types.intp, lambda builder, address: builder.load_atomic(word(builder, address), "acquire", 8)


@lowering
def pause() -> Lowering:
    def generate(builder):
        if builder.module.triple.startswith("x86_64"):
            name, arguments = "llvm.x86.sse2.pause", []
        elif builder.module.triple.startswith("aarch64"):
            name, arguments = "llvm.aarch64.hint", [ir.IntType(32)(1)]
        else:
            return
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)

    return types.void, generate


@lowering
def give_way() -> Lowering:
    def generate(builder):
        if "windows" not in builder.module.triple:
            builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"), [])

    return types.void, generate


@lowering
def call(function, context, index) -> Lowering:
    def generate(builder, function, context, index):
        builder.call(builder.inttoptr(function, TASK.as_pointer()), [ir.Constant(I8.as_pointer(), None), context, index])

    return types.void, generate
