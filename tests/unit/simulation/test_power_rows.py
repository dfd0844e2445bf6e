from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall_core.recordings.archive import pack_session
from heimdall_core.recordings.level import channel_power_dbfs
from heimdall_core.recordings.power_table import POWER_RANGE_DB, PowerRow, PowerTable
from heimdall_core.recordings.session import ReceiverSite
from heimdall_core.simulation.power_rows import TABLE_TO_DBFS_DB, render_power_row, signal_over_floor_db


def table_of(power_db: list[float], floor_db: list[float]) -> PowerTable:
    row = PowerRow(
        line=2,
        time=datetime(2022, 4, 25, tzinfo=UTC),
        latitude=40.76,
        longitude=-111.84,
        power_db=np.array(power_db, float),
    )
    receivers = tuple(
        ReceiverSite(name=f"r{i}", latitude=40.7, longitude=-111.8) for i in range(len(power_db))
    )
    return PowerTable(receivers=receivers, noise_floor_db=np.array(floor_db, float), rows=(row,))


def measured_over_floor_db(table: PowerTable) -> list[float]:
    session = render_power_row(table, table.rows[0], num_segments=20)
    return [
        channel_power_dbfs(r.samples, sample_rate_hz=r.sample_rate_hz, bandwidth_hz=1e4)
        - (r.noise_floor_dbfs or 0.0)
        for r in session.recordings
    ]


def test_signal_and_noise_together_have_the_stated_power_over_the_floor():
    table = table_of([-94, -90, -80, -40, -5], [-95] * 5)
    assert measured_over_floor_db(table) == pytest.approx([1, 5, 15, 55, 90], abs=0.1)


def test_at_or_below_the_floor_there_is_noise_at_the_floor():
    assert measured_over_floor_db(table_of([-95, -99.9], [-95, -95])) == pytest.approx([0, 0], abs=0.1)


def test_the_floor_is_stated_with_the_fixed_offset():
    table = table_of([-60, -60], [-95, -88.5])
    session = render_power_row(table, table.rows[0])
    assert [r.noise_floor_dbfs for r in session.recordings] == [
        -95 + TABLE_TO_DBFS_DB,
        -88.5 + TABLE_TO_DBFS_DB,
    ]


@given(st.floats(-200, 0), st.floats(-200, 0))
def test_snr_undoes_the_noise_in_the_measurement(power_db, floor_db):
    snr_db = signal_over_floor_db(np.array([power_db]), np.array([floor_db]))[0]
    if power_db <= floor_db:
        assert snr_db == -np.inf
    else:
        assert 10 * np.log10(1 + 10 ** (snr_db / 10)) == pytest.approx(power_db - floor_db, abs=1e-6)


@given(power_db=st.floats(*POWER_RANGE_DB), floor_db=st.floats(*POWER_RANGE_DB))
@settings(max_examples=50, deadline=None)
def test_nothing_that_a_table_may_state_clips(power_db, floor_db):
    table = table_of([power_db], [floor_db])
    (recording,) = render_power_row(table, table.rows[0]).recordings
    assert np.abs(recording.samples).max() < 1


def test_a_receiver_that_took_no_part_records_nothing():
    table = table_of([-60, np.nan, -70], [-95, np.nan, -95])
    session = render_power_row(table, table.rows[0])
    assert [r.receiver.name for r in session.recordings] == ["r0", "r2"]


def test_rendering_depends_on_seed_and_row_alone():
    table = table_of([-60], [-95])
    row = table.rows[0]
    same = pack_session(render_power_row(table, row, seed=1)).data
    assert pack_session(render_power_row(table, replace(row, line=77), seed=1)).data == same
    assert pack_session(render_power_row(table, row, seed=2)).data != same
    later = replace(row, time=datetime(2022, 4, 26, tzinfo=UTC))
    assert pack_session(render_power_row(table, later, seed=1)).data != same


def test_the_source_is_named_by_its_place_unless_the_table_names_it():
    table = table_of([-60], [-95])
    row = replace(table.rows[0], source="handheld", frequency_hz=462.7e6)
    assert render_power_row(table, table.rows[0]).source.name == "40.76000000, -111.84000000"
    assert render_power_row(table, table.rows[0]).source.frequency_hz == 0
    assert render_power_row(table, row).source.name == "handheld"
    assert render_power_row(table, row).recordings[0].center_frequency_hz == 462.7e6
