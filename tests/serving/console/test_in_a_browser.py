"""The console of a real tier, two workers and tokens, as people use it: in a browser, by keyboard, on a telephone."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import requests
from registered import bundle, let_answer, let_run
from waiting import eventually

from serving.control.tokens import add_role_token
from yarnmill.registry import Candidate, Rule
from yarnmill.registry.records import Destination

if TYPE_CHECKING:
    from conftest import Platform, Tier

pytestmark = pytest.mark.xdist_group("console")  # one tier and one browser for all of them

EVIL: Final = '"><script>document.title = "taken"</script><img src=x onerror="document.title = 1">'
LONG: Final = "film-embedding-of-two-towers-with-a-name-that-is-rather-long-for-a-model"
ROW: Final = {"user_id": 1, "features": [0.5, 0.5]}
PATHS: Final = (
    *("/", "/projects", "/projects/default", "/models/rater", "/models/rater/versions/1", "/drift", "/logs"),
    *("/models/rater/versions/2?beside=1", "/models/shared/endpoints/production", "/experiments", "/audit"),
    *("/experiments/shared", "/models/rater/drift", "/deployments", f"/models/{LONG}", "/nothing"),
    *(f"/models/{LONG}/versions/1", "/models/rater/versions/3/deploy?environment=production"),
)
# The page's own listener may prevent the request; this one, which comes later, sees that.
REFRESH: Final = """(() => {
    let wants = false;
    document.body.addEventListener("htmx:beforeRequest", (event) => { wants = !event.defaultPrevented; }, {once: true});
    htmx.trigger("#live", "refresh");
    return wants;
})()"""
# The least contrast of any text with what is behind it, by WCAG's formula.
CONTRAST: Final = """(() => {
    const parts = (text) => text.match(/[\\d.]+/g).map(Number);
    const linear = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const [r, g, b, a = 1] = parts(getComputedStyle(e).backgroundColor);
            if (a) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const own = (e) => [...e.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    const ratios = [...document.querySelectorAll("body *")].filter(own).map((e) => {
        const style = getComputedStyle(e);
        const pair = [light(parts(e.closest("svg") ? style.fill : style.color)), light(behind(e))];
        return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    });
    return Math.min(...ratios);
})()"""
KEYS: Final = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "End": ("End", 35, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowLeft": ("ArrowLeft", 37, ""),
}
OUTSIDE: Final = (
    "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll table, svg, .unseen, .skip'))"
)
SIDEWAYS: Final = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
UNNAMED: Final = (
    "[...document.querySelectorAll('main input:not([type=hidden]), main select')]"
    ".filter(e => !e.labels.length && !e.ariaLabel)"
)
SUM: Final = (
    "[...document.querySelectorAll('[data-shares] input[type=number]')]"
    ".reduce((sum, one) => sum + Math.round(Number(one.value) * 100), 0)"
)


class Site(msgspec.Struct, frozen=True):
    """The tier's address, its registry, and a token of each kind."""

    tier: "Tier"
    platform: "Platform"
    reader: str
    deployer: str

    def ask(self, model: str, times: int = 1) -> set[str]:
        """Ask for predictions; return the versions that answered."""
        url = f"{self.tier.url}/v1/models/{model}:predict"
        with requests.Session() as session:
            answers = [session.post(url, json={"instances": [ROW]}, timeout=20) for _ in range(times)]
        return {answer.headers["X-Model-Version"] for answer in answers}


class Person:
    """Somebody at a browser with a keyboard alone."""

    def __init__(self, browser: Any, site: Site) -> None:
        self.browser = browser
        self.site = site
        self.base = f"{site.tier.url}/console"

    def sign_in(self, secret: str) -> None:
        self.browser.call("Network.clearBrowserCookies")
        self.network(is_there=True)
        self.browser.open(f"{self.base}/sign-in", width=1280)
        self.browser.events.clear()
        assert self.browser.value("sessionStorage.clear() || document.activeElement.id") == "token"
        self.type(secret)
        self.press("Enter")
        self.waits("location.pathname === '/console/' && document.readyState === 'complete'")

    def open(self, path: str, *, width: int = 1280) -> None:
        self.browser.open(f"{self.base}{path}", width=width)

    def press(self, name: str, times: int = 1) -> None:
        key, code, text = KEYS[name]
        for _ in range(times):
            what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
            self.browser.call("Input.dispatchKeyEvent", type="keyDown", **what, **({"text": text} if text else {}))
            self.browser.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        self.browser.call("Input.insertText", text=text)

    def go_to(self, condition: str) -> None:
        """Press Tab until the condition holds of the element that has the focus, `e`."""
        for _ in range(120):
            self.press("Tab")
            if self.browser.value(f"(e => {condition})(document.activeElement)"):
                return
        pytest.fail(f"the keyboard does not get to {condition}")

    def network(self, *, is_there: bool) -> None:
        self.browser.call("Network.enable")
        speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        self.browser.call("Network.emulateNetworkConditions", offline=not is_there, **speed)

    def refresh(self) -> bool:
        """Let the page look again at once, as it does every few seconds; return whether it wanted to."""
        return bool(self.browser.value(REFRESH))

    def refreshed(self, condition: str) -> bool:
        """Let the page look again until a condition holds; return whether it does."""
        return eventually(lambda: (self.refresh(), bool(self.browser.value(condition)))[1])

    def waits(self, condition: str) -> None:
        assert self.browser.wait(condition), (condition, self.browser.value("document.body.innerText"))

    def complaints(self) -> list[str]:
        return [one for one in self.browser.complaints() if "404 (NOT FOUND)" not in one]  # the page that is none


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    platform_in: "Callable[[Path, str], Platform]",
    tier_in: "Callable[..., AbstractContextManager[Tier]]",
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    platform = platform_in(folder / "home", "")
    for number in (1, 2, 3):
        platform.publish("rater", float(number))
        platform.publish("shared", float(number))
    let_answer(platform.registry, "rater", 1)
    for number in (1, 2, 3):
        let_run(platform.registry, "shared", number)
    shares = (Destination(version=1, weight=50.0), Destination(version=2, weight=50.0))
    platform.registry.endpoints.route("shared", Rule(destinations=shares, mirror=3))
    candidate = Candidate(model=LONG, bundle_id="0" * 64, blobs_url="file:///none", flavour="onnx", run_id="r" * 90)
    hard = {"labels": {"stage": EVIL}, "inputs": (f"hdfs:///{'x' * 300}",), "metrics": {"auc": 0.7}}
    platform.registry.versions.register(bundle(candidate, 1, code_version=EVIL, **hard))
    tokens, log = folder / "tokens.yaml", folder / "access.log"
    reader = add_role_token(tokens, "ana", "reader", ("*",))
    deployer = add_role_token(tokens, "ci", "deployer", ("*",))
    words = ["--control", "--tokens", str(tokens), "--workers", "2", "--access-log", str(log)]
    words += ["--set", f"storage.blobs={platform.blobs_url}"]
    with tier_in(folder / "home", folder / "tier.log", *words) as tier:
        yield Site(tier=tier, platform=platform, reader=reader, deployer=deployer)
    told = (folder / "tier.log").read_text()
    assert "Traceback" not in told
    for secret in (reader, deployer):
        assert secret not in told + log.read_text()
    platform.registry.close()


@pytest.fixture
def person(shared_browser: Any, site: Site) -> Person:
    return Person(shared_browser, site)


@pytest.mark.parametrize("width", [1280, 400])
def test_every_page_fits_its_window_and_nothing_complains(person: Person, width: int) -> None:
    person.sign_in(person.site.deployer)
    for path in PATHS:
        person.open(path, width=width)
        assert person.browser.value("document.documentElement.scrollWidth") <= width, path
        # Wide tables scroll in a frame of their own, which the keyboard gets to.
        assert person.browser.value(f"Math.max(...{OUTSIDE}.map(e => e.getBoundingClientRect().right))") <= width, path
        if width == 400:
            assert person.browser.value(SIDEWAYS) == 0, path
        assert person.browser.value("document.title").endswith("YarnMill"), path
        assert person.browser.value("document.querySelectorAll('h1').length") == 1, path
        assert person.browser.value(f"{UNNAMED}.length") == 0, path
    assert person.complaints() == []


def test_a_version_is_deployed_by_keyboard_alone_and_answers(person: Person) -> None:
    person.sign_in(person.site.deployer)
    person.open("/models/rater")
    person.press("Tab")
    assert person.browser.value("document.activeElement.textContent") == "Skip to content"
    person.go_to("e.textContent === 'Deploy 2'")
    person.press("Enter")
    person.waits("document.querySelector('dialog').open")
    assert "Deploy rater/2 to production?" in person.browser.value("document.querySelector('dialog').textContent")
    person.press("Escape")
    person.waits("!document.querySelector('dialog').open")
    assert person.browser.value("document.activeElement.textContent") == "Deploy 2"
    person.press("Enter")
    person.waits("document.querySelector('dialog').open && document.activeElement.textContent === 'Deploy version 2'")
    person.press("Enter")
    person.waits("location.pathname === '/console/models/rater/endpoints/production'")
    # Told to those who hear the page, without another request of theirs.
    assert person.refreshed("document.getElementById('announcer').textContent.includes('2: 100 %')")
    assert eventually(lambda: person.site.ask("rater", 8) == {"2"})
    assert {one.actor for one in person.site.platform.registry.audit("rater")[-3:]} == {"ci"}
    assert person.complaints() == []


def test_it_is_deployed_without_scripts_too(person: Person) -> None:
    person.sign_in(person.site.deployer)
    person.browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        person.open("/models/rater")
        person.go_to("e.textContent === 'Deploy 3'")
        person.press("Enter")
        person.waits("location.pathname.endsWith('/versions/3/deploy') && document.readyState === 'complete'")
        assert person.browser.value("document.activeElement.textContent") == "Deploy version 3"
        person.press("Enter")
        person.waits("location.pathname === '/console/models/rater/endpoints/production'")
    finally:
        person.browser.call("Emulation.setScriptExecutionDisabled", value=False)
    assert eventually(lambda: person.site.ask("rater", 8) == {"3"})


def test_shares_stay_a_whole_whatever_is_moved_and_are_saved(person: Person) -> None:
    person.sign_in(person.site.deployer)
    person.open("/models/shared/endpoints/production")
    assert person.browser.value(SUM) == 10_000
    person.go_to("e.type === 'range'")  # of version 3
    person.press("ArrowRight", 7)
    assert person.browser.value(SUM) == 10_000
    assert person.browser.value("document.getElementById('share-3').value") == "7.00"
    person.go_to("e.id === 'share-2'")
    person.browser.call("Runtime.evaluate", expression="document.activeElement.select()")
    person.type("33.33")
    person.press("Tab")
    assert person.browser.value(SUM) == 10_000
    assert person.browser.value("document.getElementById('sum').textContent") == "100.00 %"
    random = Random(0)
    for _ in range(30):
        slider, value = random.randrange(3), random.randrange(101)
        person.browser.value(
            f"(s => {{ s.value = {value}; s.dispatchEvent(new Event('input')); }})"
            f"(document.querySelectorAll('[type=range]')[{slider}])"
        )
        assert person.browser.value(SUM) == 10_000
    person.browser.value(
        "[1, 2, 3].forEach(n => { document.getElementById(`share-${n}`).value = ['', 66.67, 33.33, ''][n]; })"
    )
    person.browser.value("document.getElementById('share-1').focus()")
    person.go_to("e.textContent === 'Save shares'")
    person.press("Enter")
    person.waits("document.body.innerText.includes('revision 2')")
    saved = person.site.platform.registry.endpoints.get("shared").rule
    assert {one.version: one.weight for one in saved.destinations} == {1: 66.67, 2: 33.33}
    assert person.complaints() == []


def test_a_reader_finds_nothing_to_press(person: Person) -> None:
    person.sign_in(person.site.reader)
    for path in ("/models/rater", "/models/rater/versions/2", "/models/shared/endpoints/production"):
        person.open(path)
        assert (
            person.browser.value("document.querySelectorAll('main form:not([method=get]), main .button').length") == 0
        )
    assert person.complaints() == []


def test_numbers_are_fresh_until_somebody_pauses_them(person: Person) -> None:
    person.sign_in(person.site.reader)
    person.open("/")
    person.browser.value("window.same = true; document.getElementById('m-rater').focus()")
    figures = "document.querySelector('.figures').textContent"
    before = person.browser.value(figures)
    person.site.ask("rater", 50)
    assert person.refreshed(f"{figures} !== {json.dumps(before)}")
    assert person.browser.value("window.same")
    assert person.browser.value("document.activeElement.id") == "m-rater"
    assert person.browser.value("document.querySelectorAll('.charts svg[role=img] .line').length") == 5
    person.browser.value("document.getElementById('pause').click()")
    assert person.browser.value("document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    assert not person.refresh()
    person.open("/")  # it stays so on the next page
    assert not person.refresh()
    person.browser.value("document.getElementById('pause').click()")
    assert eventually(person.refresh)  # unless one is on its way
    assert person.complaints() == []


def test_it_says_when_the_tier_no_longer_answers(person: Person) -> None:
    person.sign_in(person.site.reader)
    person.open("/")
    assert person.browser.value("document.getElementById('stale').hidden")
    person.network(is_there=False)
    person.refresh()
    person.waits("!document.getElementById('stale').hidden")
    person.network(is_there=True)
    person.refresh()
    person.waits("document.getElementById('stale').hidden")


def test_texts_of_others_do_nothing(person: Person) -> None:
    person.sign_in(person.site.reader)
    for path in (f"/models/{LONG}", f"/models/{LONG}/versions/1"):
        person.open(path)
        assert EVIL in person.browser.value("document.body.textContent")
        assert person.browser.value("document.title").endswith("YarnMill")
    assert person.complaints() == []


def test_texts_are_read_by_day_and_in_the_dark(person: Person) -> None:
    person.sign_in(person.site.reader)
    ratios = {}
    for scheme in ("light", "dark"):
        person.browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for path in ("/", "/models/shared/endpoints/production", "/nothing"):
            person.open(path)
            ratios[scheme, path] = person.browser.value(CONTRAST)
    person.browser.call("Emulation.setEmulatedMedia", features=[])
    assert min(ratios.values()) >= 4.5, ratios
