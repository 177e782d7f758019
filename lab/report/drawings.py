"""What the two drawings of a report are told, as JSON: the map and the timeline (files/world.js, files/timeline.js)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.report.data.curves import Series
from lab.report.data.distances import Distance, between, place_of
from lab.report.data.happenings import Band, Mark
from lab.report.data.world import Flow, PhaseTraffic, Site
from lab.report.page import land
from lab.report.view import RunView

PALETTE_COLORS = 8
"""--c0, --c1, ... of report.css; of more regions the next eight are dashed."""
_RESULT_COLORS = {
    "Hit": "var(--hit)",
    "RefreshHit": "var(--refresh)",
    "Miss": "var(--miss)",
    "Redirect": "var(--redirect)",
    "Error": "var(--error)",
    "failed": "var(--failed)",
}
_TIER_COLORS = {"edge": "var(--c0)", "regional": "var(--c1)"}
_FETCH_COLORS = {"all nodes": "var(--c6)"}
_LATENCY_HEIGHT = 96
_MOST_VALUE_DIGITS = 4


def timeline_document(view: RunView) -> dict[str, Any] | None:
    """None when there is nothing over time."""
    panels = [panel for panel in _panels(view) if panel is not None]
    marks = [_mark(mark) for mark in view.marks]
    bands = [_band(band) for band in (*view.faults, *view.invalidations, *view.configurations)]
    if not (panels or marks or bands):
        return None
    return {
        "duration": max(view.axis.duration_seconds, 1.0),
        "step": view.axis.step_seconds,
        "panels": panels,
        "marks": marks,
        "bands": bands,
    }


def _panels(view: RunView) -> list[dict[str, Any] | None]:
    curves, regions = view.curves, _region_colors(view)
    milliseconds = [
        value for series in curves.latency.values() for each in series for value in each.values if value is not None
    ]
    limits = {"lowest": min(milliseconds, default=1.0), "highest": max(milliseconds, default=1.0)}
    by_region: dict[str, Any] = {"group": "regions"}
    latency = [
        _panel(f"latency-{name}", f"Latency {name}", "line", "ms", _colored(series, regions))
        for name, series in sorted(curves.latency.items())
    ]
    return [
        _with(_panel("requests", "Requests by region", "area", "rate", _colored(curves.requests, regions)), by_region),
        _panel("results", "Requests by result", "area", "rate", _colored(curves.results, _RESULT_COLORS)),
        _panel("hit-ratio", "Hit ratio by tier", "line", "share", _colored(curves.hit_ratio, _TIER_COLORS)),
        _panel(
            "origin-fetches", "Fetches from origins", "area", "rate", _colored(curves.origin_fetches, _FETCH_COLORS)
        ),
        _with(_panel("errors", "Errors that viewers saw", "area", "rate", _colored(curves.errors, regions)), by_region),
        *(_with(panel, by_region | limits | {"height": _LATENCY_HEIGHT}) for panel in latency),
    ]


def _panel(name: str, title: str, kind: str, values: str, series: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"id": name, "title": title, "kind": kind, "format": values, "series": series} if series else None


def _with(panel: dict[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if panel is None else panel | dict(more)


def _region_colors(view: RunView) -> dict[str, str]:
    """The same region has the same colour in every panel."""
    curves = view.curves
    every = (curves.requests, curves.errors, *curves.latency.values())
    names = sorted({each.name for series in every for each in series})
    return {name: f"var(--c{place % PALETTE_COLORS})" for place, name in enumerate(names)}


def _colored(series: Iterable[Series], colors: Mapping[str, str]) -> list[dict[str, Any]]:
    order = list(colors)
    return [
        {
            "name": each.name,
            "color": colors.get(each.name, "var(--other)"),
            "dash": each.name in colors and order.index(each.name) >= PALETTE_COLORS,
            "values": [None if value is None else float(f"{value:.{_MOST_VALUE_DIGITS}g}") for value in each.values],
        }
        for each in series
    ]


def _mark(mark: Mark) -> dict[str, Any]:
    return {
        "number": mark.number,
        "lane": str(mark.lane),
        "label": mark.label,
        "text": mark.text,
        "began": mark.began,
        "ended": mark.ended,
    }


def _band(band: Band) -> dict[str, Any]:
    return {
        "lane": str(band.lane),
        "label": band.label,
        "text": band.text,
        "began": band.began,
        "ended": band.ended,
    }


def world_document(view: RunView) -> dict[str, Any] | None:
    """None when nobody knows where the run was."""
    if not view.sites:
        return None
    by_id = {site.id: site for site in view.sites}
    return {
        "land": land(),
        "sites": [_site(site) for site in view.sites],
        "phases": [_phase(each, by_id, view.distances) for each in view.traffic],
    }


def _site(site: Site) -> dict[str, Any]:
    return {
        "id": site.id,
        "role": site.role,
        "name": site.name,
        "region": site.region,
        "latitude": site.latitude,
        "longitude": site.longitude,
        "nodes": list(site.nodes),
        "users": site.users,
    }


def _phase(traffic: PhaseTraffic, sites: Mapping[str, Site], distances: Sequence[Distance]) -> dict[str, Any]:
    phase = traffic.phase
    flows = [_flow(each, sites, distances) for each in traffic.flows if each.source in sites and each.target in sites]
    return {
        "label": phase.label,
        "began": phase.began,
        "ended": phase.ended,
        "faulted": dict(phase.faulted),
        "flows": flows or _bare_links(sites.values(), distances),
        "loads": {
            name: {
                "requests": load.requests,
                "hits": load.hits,
                "cacheable": load.cacheable,
                "bytes": load.sent_bytes,
            }
            for name, load in traffic.loads.items()
        },
    }


def _flow(flow: Flow, sites: Mapping[str, Site], distances: Sequence[Distance]) -> dict[str, Any]:
    source, target = sites[flow.source], sites[flow.target]
    distance = between(distances, place_of(source.role, source.region), target.region)
    return {
        "source": flow.source,
        "target": flow.target,
        "from": f"{source.role.replace('_', ' ')} {source.name}",
        "to": f"{target.role.replace('_', ' ')} {target.name}",
        "hop": flow.hop,
        "requests": flow.requests,
        "bytes": flow.received_bytes,
        "errors": flow.errors,
        **_delay(distance),
    }


def _bare_links(sites: Iterable[Site], distances: Sequence[Distance]) -> list[dict[str, Any]]:
    """Between regions, of a run of which nobody counted what went over them."""
    first = {site.region: site for site in reversed(list(sites))}
    return [
        {
            "source": first[one].id,
            "target": first[other].id,
            "from": one,
            "to": other,
            "hop": "link",
            "requests": 0,
            "bytes": 0,
            "errors": 0,
            **_delay(distance),
        }
        for distance in distances
        for one, other in (distance.ends,)
        if one != other and one in first and other in first
    ]


def _delay(distance: Distance | None) -> dict[str, Any]:
    if distance is None:
        return {"link": "", "delay": None}
    return {"link": distance.link, "delay": {"asked": distance.asked, "measured": distance.measured}}
