"""`fastdw cost`: what a network, or one layer in each of its forms, costs before it runs."""

from __future__ import annotations

import argparse

from fastdw.cli.text import by, count, print_table


def add(commands: argparse._SubParsersAction) -> None:
    description = (
        "Multiply-adds, parameters and bytes of a network, or of one layer as a regular, separable or inverted-residual convolution."
    )
    parser = commands.add_parser("cost", help="count multiply-adds, parameters and bytes", description=description)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--network", metavar="NAME", help="an architecture, as mobilenet_v2, or a .tflite or .onnx file")
    what.add_argument("--layer", type=size, metavar="HxWxC", help="one layer, by the size of its input")
    parser.add_argument("--out", type=count, metavar="N", help="output channels of the layer (as many as come in)")
    parser.add_argument("--kernel", type=count, default=3, metavar="K", help="filter taps along each side (3)")
    parser.add_argument("--stride", type=count, default=1, metavar="S", help="stride of the layer (1)")
    parser.add_argument(
        "--roof", type=float, nargs=2, metavar=("GFLOP/S", "GB/S"), help="what the machine can do at most: adds the least time, in us"
    )
    parser.set_defaults(command=cost)


def size(text: str) -> tuple[int, ...]:
    parts = text.lower().split("x")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"got {text}; expected height x width x channels, as 14x14x512")
    return tuple(count(part) for part in parts)


def cost(options: argparse.Namespace) -> None:
    from fastdw.cost import Roof

    roof = Roof(1e9 * options.roof[0], 1e9 * options.roof[1]) if options.roof else None
    if options.network:
        print_network(options.network, roof)
    else:
        print_layer(options, roof)


def print_network(name: str, roof) -> None:
    from fastdw.cost import network
    from fastdw.networks import load_graph

    whole = network(load_graph(name))
    print_table([headings(roof), *[row(part, roof) for part in whole.parts], row(whole, roof, "whole network")], n_text_columns=2)
    print()
    totals = f"{1e-6 * whole.multiply_adds:.0f} M multiply-adds, {1e-6 * whole.parameters:.2f} M parameters"
    print(f"{whole.name}: {totals}")
    if roof:
        seconds = sum(part.seconds(roof) for part in whole.parts)
        print(f"layer by layer at least {1e6 * seconds:.0f} us; with nothing between layers in memory {1e6 * whole.seconds(roof):.0f} us")


def print_layer(options: argparse.Namespace, roof) -> None:
    from fastdw import cost as costs

    shape, out = options.layer, options.out or options.layer[2]
    window = {"kernel": options.kernel, "stride": options.stride}
    forms = [costs.regular(shape, out, **window), costs.separable(shape, out, **window), costs.inverted_residual(shape, out, **window)]
    rows = [headings(roof)]
    for form in forms:
        rows += [row(form, roof), *[row(part, roof, f"  {part.name}") for part in form.parts]]
    print_table(rows, n_text_columns=2)
    print()
    ratio = forms[0].multiply_adds / forms[1].multiply_adds
    print(
        f"separable: {ratio:.1f} times fewer multiplications than regular (1/N + 1/K^2 = {costs.separable_ratio(out, options.kernel):.4f})"
    )


def headings(roof) -> tuple[str, ...]:
    timed = ("least us", "bound by") if roof else ()
    return ("layer", "output", "mult-adds", "parameters", "bytes least", "bytes planned", "flops/byte", *timed)


def row(cost, roof, name: str | None = None) -> tuple[str, ...]:
    numbers = [f"{number:,}" for number in (cost.multiply_adds, cost.parameters, cost.bytes_moved, cost.bytes_planned)]
    cells = (name or cost.name, by(cost.out_shape), *numbers, f"{cost.intensity:.1f}")
    if roof is None:
        return cells
    bound = "arithmetic" if cost.flops / roof.flops_per_second >= cost.bytes_moved / roof.bytes_per_second else "memory"
    return (*cells, f"{1e6 * cost.seconds(roof):.1f}", bound)
