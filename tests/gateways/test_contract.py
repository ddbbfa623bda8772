"""The battery passes for the adapters that we ship, and fails for each of the planted bad ones."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from moneyed import Money

from django_gatewaypay.gateways.hosted import HostedGateway
from django_gatewaypay.sandbox.gateway import SandboxGateway
from django_gatewaypay.testing import GatewayContract

from ..conftest import REPOSITORY

PLANTED = Path(__file__).with_name("planted.py")


class TestHosted(GatewayContract):
    """The plain hosted protocol."""

    credentials = ("sk_contract_1",)
    states = HostedGateway.STATES
    amounts = (
        (Money("19.90", "EUR"), "19.90"),
        (Money(2000, "JPY"), "2000"),
        (Money("1.5", "KWD"), "1.500"),
        (Money("0.01", "USD"), "0.01"),
    )

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> HostedGateway:
        return HostedGateway(
            "hosted", api_base=api_base, webhook_secrets=secrets, api_key=self.credentials[0], **options
        )


class TestSandbox(TestHosted):
    """The sandbox's adapter, against the same wire; its own server is met in tests/sandbox."""

    def make_gateway(self, api_base: str, secrets: Sequence[str], **options: Any) -> SandboxGateway:
        return SandboxGateway(
            "sandbox", api_base=api_base, webhook_secrets=secrets, api_key=self.credentials[0], **options
        )


# --- And it fails where it should.

#: What each planted defect breaks: these tests and no others.
CAUGHT: dict[str, set[str]] = {
    "AcceptsUnsigned": {"an_unsigned_callback_is_refused", "an_altered_callback_is_refused"},
    "AcceptsAnything": {
        "an_unsigned_callback_is_refused",
        "a_callback_of_a_stranger_is_refused",
        "an_altered_callback_is_refused",
        "a_reserialised_body_is_refused",
        "a_callback_of_another_hour_is_refused",
        "an_unreadable_callback_is_malformed",
        "its_errors_name_no_secret",
    },
    "IgnoresTheTime": {"a_callback_of_another_hour_is_refused"},
    "TakesTheFuture": {"a_callback_of_another_hour_is_refused"},
    "FirstSecretOnly": {"a_signed_callback_is_taken"},
    "SignsTheMeaning": {
        "a_reserialised_body_is_refused",
        "an_altered_callback_is_refused",
        "an_unreadable_callback_is_malformed",
    },
    "FloatsMoney": {"an_amount_goes_out_exactly", "the_list_tells_what_is_true"},
    "RoundsMoney": {"an_amount_that_does_not_fit_is_not_asked_for"},
    "EverythingHasCents": {"a_success_says_how_much_and_of_what"},
    "DropsUnknownWords": {"an_unknown_word_survives"},
    "FailsUnknownWords": {"an_unknown_word_survives"},
    "CrashesOnOddFields": {"an_odd_field_does_no_harm", "an_unreadable_callback_is_malformed"},
    "LeaksInRepr": {"its_repr_names_no_secret"},
    "LeaksInRaw": {"what_is_stored_is_an_allow_list"},
    "LeaksInErrors": {"its_errors_name_no_secret"},
    "LeaksInLogs": {"its_logs_name_no_secret"},
    "NewKeyAtEachTry": {
        "every_try_is_the_same_call",
        "no_answer_is_an_unknown_outcome",
        "a_foreign_address_reaches_no_shopper",
        "threads_share_one_adapter",
        "its_errors_name_no_secret",
    },
    "NewBytesAtEachTry": {"every_try_is_the_same_call", "threads_share_one_adapter"},
    "DeclinesOnTimeout": {"no_answer_is_an_unknown_outcome", "a_foreign_address_reaches_no_shopper"},
    # It cannot say "there is none" either.
    "DeclinesOurMistakes": {"a_rejection_is_our_mistake", "a_session_is_found_by_our_id"},
    "OpensWhatItShouldFind": {"a_session_is_found_by_our_id"},
    "DeclinesInItsOwnWords": {"a_decline_is_a_definite_no"},
    "FlagWithoutMethod": {"its_flags_are_its_methods", "canceling_never_hides_money"},
    "MethodWithoutFlag": {"its_flags_are_its_methods"},
    "FollowsToAForeignHost": {"a_foreign_address_reaches_no_shopper"},
    "SuccessWithoutAmount": {
        "a_success_says_how_much_and_of_what",
        "a_capture_takes_what_it_says",
        "the_same_capture_twice_takes_once",
        "captures_add_up",
        "the_list_tells_what_is_true",
    },
    "TakesWhatIsNotPaid": {
        "what_is_not_paid_has_taken_nothing",
        "the_same_capture_twice_takes_once",
        "captures_add_up",
        "more_than_is_reserved_is_a_definite_no",
    },
    "SaysNotWhich": {
        "every_report_says_of_which_payment",
        "threads_share_one_adapter",
        "the_list_is_read_to_its_end",
    },
    "CancelsWhatIsPaid": {"canceling_never_hides_money"},
    "SharesStateBetweenThreads": {"threads_share_one_adapter"},
    "BelievesHints": {"a_hint_says_nothing"},
    "NewKeyAtEachRefund": {"the_same_refund_twice_gives_back_once"},
    "RefundsWholeUnitsOnly": {"a_refund_says_how_much_it_gives_back"},
    "RefundsWithoutOurId": {"a_refund_comes_back_under_our_name", "a_refund_is_found_by_our_id"},
    "TakesARefusalForAnOrder": {"more_than_was_taken_is_a_definite_no"},
    "DoubtsEveryRefusal": {"more_than_was_taken_is_a_definite_no"},
    "RefusesOnTimeout": {"no_answer_to_a_refund_is_an_unknown_outcome"},
    "FindsAnyRefund": {"a_refund_is_found_by_our_id"},
    "FindsNoneWithoutAnAnswer": {"a_refund_is_found_by_our_id"},
    "CapturesEverything": {
        "a_capture_takes_what_it_says",
        "the_same_capture_twice_takes_once",
        "captures_add_up",
    },
    "LetsTheRestGo": {"captures_add_up"},
    "TellsTheLastCapture": {"captures_add_up"},
    "NewKeyAtEachCapture": {"the_same_capture_twice_takes_once"},
    "TakesARefusalForACapture": {"more_than_is_reserved_is_a_definite_no"},
    "ListsOnePage": {"the_list_is_read_to_its_end", "a_list_that_ends_too_soon_says_so"},
    "ListsHalfInSilence": {"a_list_that_ends_too_soon_says_so"},
    "ListsWhatIsOlder": {"the_list_keeps_to_its_time"},
    "ListsWhatIsNewer": {"the_list_keeps_to_its_time"},
    "ListsWithoutTheMoney": {"the_list_tells_what_is_true"},
    "ListsAWish": {"the_list_tells_what_is_true"},
    "Good": set(),
}


@pytest.fixture(scope="session")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The tests that failed, by planted adapter; in a process without our settings, as in somebody else's project."""
    report = tmp_path_factory.mktemp("planted") / "report.xml"
    options = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:django",
        "-p",
        "no:randomly",
        "-n",
        "6",
        "--noconftest",
        "-c",
        os.devnull,
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", PLANTED, *options, "-q", f"--junit-xml={report}", f"--rootdir={REPOSITORY}"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    failed: dict[str, set[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - our own report
        names = failed.setdefault(case.attrib["classname"].rpartition(".Test")[2], set())
        if case.find("failure") is not None or case.find("error") is not None:
            names.add(case.attrib["name"].partition("[")[0].removeprefix("test_"))
    return failed


@pytest.mark.slow
@pytest.mark.timeout(900)  # whoever comes first waits for all of them
@pytest.mark.parametrize("adapter", CAUGHT)
def test_a_planted_defect_is_caught(failures: dict[str, set[str]], adapter: str) -> None:
    """By the tests that say so, and by no other."""
    assert failures[adapter] == CAUGHT[adapter]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_planted_adapter_is_judged(failures: dict[str, set[str]]) -> None:
    """None is forgotten, and only the good one passes."""
    assert failures.keys() == CAUGHT.keys()
    assert [name for name, failed in failures.items() if not failed] == ["Good"]
