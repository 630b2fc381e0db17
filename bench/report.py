"""Results of `compare` as text: a table a layer, ratios first, and a summary."""

from dataclasses import asdict, dataclass, field
from statistics import geometric_mean

from bench.layers import Layer
from bench.timing import Samples, ratio

OURS = "fastdw"
REFERENCE_PEER = "litert"


@dataclass(frozen=True)
class Timed:
    """A contestant that took part. `samples` are seconds of one copy of the layer."""

    name: str
    form: str
    error: float
    samples: Samples


@dataclass(frozen=True)
class LayerResult:
    """A layer's contestants, those that did not take part with their reasons, and the FMA peak of the same run."""

    layer: Layer
    copies: int
    peak_flops: float
    timed: dict[str, Timed]
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def peers(self):
        return [timed for name, timed in self.timed.items() if not name.startswith(OURS)]

    @property
    def best_peer(self):
        """The peer with the least minimum, or None."""
        return min(self.peers, key=lambda timed: timed.samples.minimum, default=None)

    def ours_over(self, peer):
        """fastdw's time over a peer's, or None where one of them is absent."""
        ours = self.timed.get(OURS)
        return ratio(ours.samples, peer.samples) if ours and peer else None

    def share_of_peak(self, name):
        return self.layer.flops / self.timed[name].samples.minimum / self.peak_flops

    def as_json(self):
        layer = self.layer
        facts = {"id": layer.id, "flops": layer.flops, "bytes": layer.bytes, "copies": self.copies, "peak_flops_per_second": self.peak_flops}
        return facts | {"contestants": [asdict(timed) for timed in self.timed.values()], "absent": self.absent}


def header(environment, settings, versions):
    facts = environment
    lines = [
        f"{facts['cpu']}, {facts['architecture']}, {facts['lanes']} lanes, {facts['cores']} cores, last cache {facts['last_cache_bytes'] >> 20} MB",
        f"{facts['system']}, Python {facts['python']}, {facts['date']}, commit {facts['commit']}",
        ", ".join(f"{name} {version}" for name, version in (facts["versions"] | versions).items() if version),
        f"{settings['threads']} thread(s), {settings['residency']}, {settings['seconds']} s a layer: {settings['meaning']}",
        "Ratio: fastdw's time over the contestant's, of minima and of medians; in brackets deciles 1 and 9 of the paired samples.",
    ]
    return "\n".join(lines)


def layer_table(result):
    layer = result.layer
    title = f"{layer.id}: {layer.flops / 1e6:.1f} MFLOP, {layer.bytes / 1e6:.2f} MB"
    lines = [f"{title}, FMA peak {result.peak_flops / 1e9:.0f} GFLOP/s"]
    lines.append(f"  {'contestant':<14}{'of minima':>10}{'medians':>9}{'spread':>14}{'min us':>10}{'median us':>11}{'GFLOP/s':>9}{'% peak':>8}  form")
    for timed in sorted(result.timed.values(), key=lambda timed: timed.samples.minimum):
        samples = timed.samples
        compared = result.ours_over(timed)
        ratios = f"{'-':>10}{'-':>9}{'-':>14}"
        if compared:
            spread = f"[{compared.low:.2f}-{compared.high:.2f}]"
            ratios = f"{compared.of_minima:>10.2f}{compared.of_medians:>9.2f}{spread:>14}"
        times = f"{samples.minimum * 1e6:>10.1f}{samples.median * 1e6:>11.1f}"
        rates = f"{layer.flops / samples.minimum / 1e9:>9.1f}{100 * result.share_of_peak(timed.name):>8.1f}"
        lines.append(f"  {timed.name:<14}{ratios}{times}{rates}  {timed.form}")
    lines += [f"  {name:<14}absent: {reason}" for name, reason in result.absent.items()]
    return "\n".join(lines)


def summary(results):
    """Each layer's ratios to the best peer and to LiteRT, their geometric means, and the worst layer."""
    ours = [result for result in results if OURS in result.timed]
    if not ours:
        return "fastdw took no part: no ratios."
    lines = [f"  {'layer':<30}{'best peer':>14}{'of minima':>11}{'medians':>9}{'/ litert':>10}{'medians':>9}{'% peak':>8}"]
    against_best, against_reference = {}, {}
    for result in ours:
        row = f"  {result.layer.id:<30}"
        best, reference = result.best_peer, result.timed.get(REFERENCE_PEER)
        row += f"{best.name if best else '-':>14}"
        for peer, collected, widths in ((best, against_best, (11, 9)), (reference, against_reference, (10, 9))):
            compared = result.ours_over(peer)
            row += f"{compared.of_minima:>{widths[0]}.2f}{compared.of_medians:>{widths[1]}.2f}" if compared else f"{'-':>{widths[0]}}{'-':>{widths[1]}}"
            if compared:
                collected[result.layer.id] = compared
        lines.append(row + f"{100 * result.share_of_peak(OURS):>8.1f}")
    for name, collected in (("the best peer", against_best), (REFERENCE_PEER, against_reference)):
        if collected:
            lines.append(_means(name, collected))
    return "\n".join(lines)


def _means(name, collected):
    minima = geometric_mean(compared.of_minima for compared in collected.values())
    medians = geometric_mean(compared.of_medians for compared in collected.values())
    worst = max(collected, key=lambda layer: collected[layer].of_minima)
    return (
        f"fastdw / {name}: geometric mean {minima:.3f} of minima, {medians:.3f} of medians, over {len(collected)} layers; "
        f"worst {collected[worst].of_minima:.2f} at {worst}"
    )
