import numpy as np

from classifiers.episodes import Episodes, find_episodes
from classifiers.model import load_model
from classifiers.observations import CODEBOOK, FINDINGS, N_CODES
from tests.residence_world import Record, make_evidence

TRUST = load_model().trust


def patterns(episodes: Episodes) -> list[list[tuple[str, str]]]:
    """The findings of every episode, in order."""
    shown = []
    for pattern in episodes.pattern:
        start, stop = episodes.patterns.start[pattern : pattern + 2]
        findings = [FINDINGS[CODEBOOK.finding[code]] for code in episodes.patterns.items[start:stop]]
        shown.append([(kind.name, value) for kind, value in findings])
    return shown


def find(records: list[Record]) -> Episodes:
    return find_episodes(make_evidence(records), TRUST)


def test_an_episode_is_one_uploader_in_one_month() -> None:
    episodes = find(
        [
            {"episode": 7, "month": 24001, "gps": "FR"},
            {"episode": 7, "month": 24000, "gps": "FR"},
            {"episode": 2**63 + 1, "month": 24000, "gps": "GB"},
            {"episode": 7, "month": 24001, "ip": "IT"},
            {"episode": 7, "month": -1, "gps": "BE"},
            {"subject": "b", "episode": 7, "month": 24000, "gps": "FR"},
        ]
    )
    assert episodes.subject.tolist() == [0, 0, 0, 0, 1]
    assert episodes.month.tolist() == [-1, 24000, 24000, 24001, 24000]
    assert patterns(episodes) == [
        [("gps", "BE")],
        [("gps", "FR")],
        [("gps", "GB")],
        [("gps", "FR"), ("ip", "IT")],
        [("gps", "FR")],
    ]


def test_a_repeated_value_counts_once_at_its_most_trusted_level() -> None:
    for levels in (["hosting", "residential", "mobile"], ["residential", "anonymous", "unknown"]):
        episodes = find([{"ip": ("FR", level)} for level in levels])
        (code,) = episodes.patterns.items.tolist()
        best = find([{"ip": ("FR", "residential")}]).patterns.items.tolist()
        assert [code] == best


def test_trust_and_not_the_order_of_levels_decides() -> None:
    trust = np.arange(N_CODES, 0, -1) / (N_CODES + 1)
    episodes = find_episodes(make_evidence([{"phone": ("FR", "national")}, {"phone": "FR"}]), trust)
    assert episodes.patterns.items.tolist() == find([{"phone": "FR"}]).patterns.items.tolist()


def test_different_values_stand_together() -> None:
    records: list[Record] = [{"ip": code} for code in ("FR", "GB", "FR")] + [{"language": "en"}]
    assert patterns(find(records)) == [[("ip", "FR"), ("ip", "GB"), ("language", "en")]]


def test_episodes_that_look_alike_share_a_pattern_and_subjects_a_history() -> None:
    records: list[Record] = [
        {"subject": subject, "month": month, "gps": code}
        for subject in ("a", "b", "c")
        for month, code in ((24000, "GB"), (24007, "FR"))
    ]
    records += [{"subject": "c", "month": 24003}, {"subject": "d"}]
    episodes = find(records)
    history, histories = episodes.histories()
    assert sorted(np.bincount(episodes.pattern).tolist()) == [2, 3, 3]
    assert history.tolist() == [0, 0, 0, 1]
    assert histories.lengths.tolist() == [2, 0]
