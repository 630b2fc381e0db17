"""Results of `compare` as text: a table a layer, ratios first, and a summary."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import geometric_mean
from typing import NamedTuple

from bench.layers import Layer
from bench.timing import Samples, ratio

OURS = "fastdw"
REFERENCE_PEER = "litert"


@dataclass(frozen=True)
class Timed:
    """A contestant that took part. `samples` are seconds of one copy of the layer, `error` is relative to its largest output."""

    name: str
    form: str
    error: float
    samples: Samples


class Standing(NamedTuple):
    """fastdw's time over that of a peer, or of the best peers: the one of the least minimum, the one of the least median."""

    peer: str
    of_minima: float
    of_medians: float


@dataclass(frozen=True)
class LayerResult:
    """A layer's contestants, those that did not take part with their reasons, and the FMA peak of the same run."""

    layer: Layer
    copies: int
    peak_flops: float
    timed: dict[str, Timed]
    absent: dict[str, str] = field(default_factory=dict)

    def share_of_peak(self, name: str) -> float:
        return self.layer.flops / self.timed[name].samples.minimum / self.peak_flops

    def standing(self, peers: list[Timed]) -> Standing | None:
        """Against the best of these peers; None where there is none."""
        if not peers:
            return None
        ours = self.timed[OURS].samples
        quickest = min(peers, key=lambda peer: peer.samples.minimum)
        return Standing(quickest.name, ours.minimum / quickest.samples.minimum, ours.median / min(peer.samples.median for peer in peers))

    def against_best(self) -> Standing | None:
        return self.standing([timed for name, timed in self.timed.items() if not name.startswith(OURS)])

    def against_reference(self) -> Standing | None:
        return self.standing([timed for name, timed in self.timed.items() if name == REFERENCE_PEER])

    def as_json(self) -> dict:
        layer = self.layer
        facts = {"id": layer.id, "flops": layer.flops, "bytes": layer.bytes, "copies": self.copies, "peak_flops": self.peak_flops}
        return facts | {"contestants": [asdict(timed) for timed in self.timed.values()], "absent": self.absent}


def header(environment: dict, settings: dict, peer_versions: dict) -> str:
    facts = environment
    caches = f"last cache {facts['last_cache_bytes'] >> 20} MB"
    versions = [f"{name} {version}" for name, version in (facts["versions"] | peer_versions).items() if version]
    lines = [
        f"{facts['cpu']}, {facts['architecture']}, {facts['lanes']} lanes, {facts['cores']} cores, {caches}",
        f"{facts['system']}, Python {facts['python']}, {facts['date']}, commit {facts['commit']}, load {facts['load']:.1f}",
        ", ".join(versions),
        f"{settings['threads']} thread(s), {settings['residency']} ({settings['meaning']}), {settings['seconds']:g} s a layer",
        "Ratios: fastdw's time over the contestant's, of minima and of medians; in brackets deciles 1 and 9 of the paired samples.",
    ]
    return "\n".join(lines)


def layer_table(result: LayerResult) -> str:
    layer = result.layer
    ours = result.timed.get(OURS)
    lines = [
        f"{layer.id}: {layer.flops / 1e6:.1f} MFLOP, {layer.bytes / 1e6:.2f} MB, FMA peak {result.peak_flops / 1e9:.0f} GFLOP/s",
        f"  {'contestant':<14}{'minima':>8}{'medians':>9}{'spread':>14}{'min us':>10}{'median us':>11}{'GFLOP/s':>9}{'% peak':>8}  form",
    ]
    for timed in sorted(result.timed.values(), key=lambda timed: timed.samples.minimum):
        samples = timed.samples
        ratios = f"{'-':>8}{'-':>9}{'-':>14}"
        if ours:
            compared = ratio(ours.samples, samples)
            ratios = f"{compared.of_minima:>8.2f}{compared.of_medians:>9.2f}{f'[{compared.low:.2f}-{compared.high:.2f}]':>14}"
        times = f"{samples.minimum * 1e6:>10.1f}{samples.median * 1e6:>11.1f}"
        rates = f"{layer.flops / samples.minimum / 1e9:>9.1f}{100 * result.share_of_peak(timed.name):>8.1f}"
        lines.append(f"  {timed.name:<14}{ratios}{times}{rates}  {timed.form}")
    lines += [f"  {name:<14}absent: {reason}" for name, reason in result.absent.items()]
    return "\n".join(lines)


def summary(results: list[LayerResult]) -> str:
    """Each layer against the best peer and against the reference peer, their geometric means, and the worst layer."""
    results = [result for result in results if OURS in result.timed]
    if not results:
        return "fastdw took no part, so there are no ratios."
    lines = [
        f"  {'':<30}{'/ best peer':>31}{'/ ' + REFERENCE_PEER:>18}",
        f"  {'layer':<30}{'':>14}{'minima':>8}{'medians':>9}{'minima':>9}{'medians':>9}{'% peak':>8}",
    ]
    for result in results:
        best, reference = result.against_best(), result.against_reference()
        row = f"  {result.layer.id:<30}"
        row += f"{best.peer:>14}{best.of_minima:>8.2f}{best.of_medians:>9.2f}" if best else f"{'-':>14}{'-':>8}{'-':>9}"
        row += f"{reference.of_minima:>9.2f}{reference.of_medians:>9.2f}" if reference else f"{'-':>9}{'-':>9}"
        lines.append(row + f"{100 * result.share_of_peak(OURS):>8.1f}")
    for kind in dict.fromkeys(result.layer.kind for result in results):
        of_kind = [result for result in results if result.layer.kind == kind]
        lines.append(_means(f"{kind}, fastdw / best peer", {result.layer.id: result.against_best() for result in of_kind}))
        lines.append(_means(f"{kind}, fastdw / {REFERENCE_PEER}", {result.layer.id: result.against_reference() for result in of_kind}))
    return "\n".join(lines)


def _means(title: str, standings: dict[str, Standing | None]) -> str:
    found = {layer: standing for layer, standing in standings.items() if standing}
    if not found:
        return f"{title}: took no part"
    minima = geometric_mean(standing.of_minima for standing in found.values())
    medians = geometric_mean(standing.of_medians for standing in found.values())
    worst = max(found, key=lambda layer: found[layer].of_minima)
    means = f"geometric mean {minima:.3f} of minima, {medians:.3f} of medians"
    return f"{title}: {means}; worst of {len(found)} layers {found[worst].of_minima:.2f} at {worst}"
