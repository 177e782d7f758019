"""Everything that a report shows of one run, read once: from its files, and from its history where it has one."""

from dataclasses import dataclass

from lab.history.reader import History
from lab.history.run_files import RunData
from lab.report.data.axis import Axis, axis_of
from lab.report.data.curves import Curves, curves_of_files
from lab.report.data.distances import Distance, distances_of
from lab.report.data.happenings import Band, Mark, configurations_of, faults_of, invalidations_of, marks_of
from lab.report.data.history_curves import curves_of_history
from lab.report.data.outages import ViewerErrors, Watched, viewer_errors, watched_nodes
from lab.report.data.receipts import Receipt, receipts_of
from lab.report.data.totals import RegionTotal, TierTotal, totals_by_region, totals_by_tier
from lab.report.data.world import PhaseTraffic, Site, World, phases_of, sites_of
from proto.moments import NANOSECONDS_PER_SECOND

MOST_LISTED_ERRORS = 100


@dataclass(frozen=True, slots=True)
class RunView:
    """Times are seconds of `axis`."""

    run: RunData
    axis: Axis
    curves: Curves
    marks: tuple[Mark, ...]
    faults: tuple[Band, ...]
    invalidations: tuple[Band, ...]
    configurations: tuple[Band, ...]
    receipts: tuple[Receipt, ...]
    watched: tuple[Watched, ...]
    errors: ViewerErrors
    regions: tuple[RegionTotal, ...]
    tiers: tuple[TierTotal, ...]
    sites: tuple[Site, ...]
    traffic: tuple[PhaseTraffic, ...]
    distances: tuple[Distance, ...]
    has_history: bool

    @property
    def began_at(self) -> float:
        """In seconds since the epoch, for people; 0: nobody knows."""
        is_known = bool(self.run.clocks or self.run.first_time)
        return self.run.clock.wall_seconds(self.axis.zero_ns / NANOSECONDS_PER_SECOND) if is_known else 0.0


def view_of(run: RunData, history: History) -> RunView:
    """What the history does not have is taken from the files, curve by curve."""
    axis = axis_of(run, history)
    faults = faults_of(run, history, axis)
    sites = sites_of(run.summary)
    world = World(sites, run, history, axis)
    return RunView(
        run=run,
        axis=axis,
        curves=_curves(run, history, axis),
        marks=marks_of(run, history, axis),
        faults=faults,
        invalidations=invalidations_of(run, history, axis),
        configurations=configurations_of(history, axis),
        receipts=receipts_of(run, history),
        watched=watched_nodes(run, history, axis),
        errors=viewer_errors(run, history, axis, MOST_LISTED_ERRORS),
        regions=totals_by_region(run, history),
        tiers=totals_by_tier(run, history),
        sites=sites,
        traffic=tuple(world.traffic(phase) for phase in phases_of(faults, axis)) if sites else (),
        distances=distances_of(run.links),
        has_history=world.has_traffic,
    )


def _curves(run: RunData, history: History, axis: Axis) -> Curves:
    recorded, counted = curves_of_history(history, axis), curves_of_files(run, axis)
    return Curves(
        requests=recorded.requests or counted.requests,
        results=recorded.results or counted.results,
        hit_ratio=recorded.hit_ratio or counted.hit_ratio,
        origin_fetches=recorded.origin_fetches or counted.origin_fetches,
        errors=recorded.errors or counted.errors,
        latency={name: recorded.latency[name] or counted.latency[name] for name in counted.latency},
    )
