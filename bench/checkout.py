"""`python -m bench.checkout URL`: how soon a payer can press the button, on a slow phone in a slow network.

The address is that of a page with the element in it, such as a payment link. Without a browser there is nothing to run.
"""

import argparse
import shutil
import statistics
from typing import Any, Final

from playwright.sync_api import Browser, sync_playwright

from bench.table import markdown

ROUNDS: Final = 5
CPU_SLOWDOWN: Final = 4
BYTES_PER_SECOND: Final = 1_600_000 // 8
ROUND_TRIP_MS: Final = 560

# When the page itself was there, and when the element's button was, in milliseconds since the navigation began.
READY: Final = """() => new Promise((resolve) => {
  const look = () => {
    const element = document.querySelector("qirsh-checkout");
    const button = element?.shadowRoot?.querySelector("form[data-face=methods] .button");
    if (!button) return requestAnimationFrame(look);
    const page = performance.getEntriesByType("navigation")[0].responseEnd;
    const loaded = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
    setTimeout(() => resolve({ page, ready: performance.now(), loaded }));
  };
  look();
})"""


def main() -> None:
    """Load the page some times, each time with nothing cached, and print the middle of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.checkout", description=__doc__)
    parser.add_argument("url", help="of a page with the element in it")
    url = parser.parse_args().url
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        rounds = [_loaded(browser, url) for _ in range(ROUNDS)]
        browser.close()
    after = statistics.median(one["ready"] - one["page"] for one in rounds)
    rows = [[name.partition("?")[0], f"{size:,}"] for name, size in rounds[0]["loaded"]]
    print(markdown(("request after the page", "bytes"), rows))  # noqa: T201  what the command is for
    print(f"\nThe button can be pressed {after:,.0f} ms after the page.")  # noqa: T201  as above


def _loaded(browser: Browser, url: str) -> dict[str, Any]:
    """One visit of somebody who was never here."""
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Emulation.setCPUThrottlingRate", {"rate": CPU_SLOWDOWN})
    speed = {"downloadThroughput": BYTES_PER_SECOND, "uploadThroughput": BYTES_PER_SECOND}
    wire.send("Network.emulateNetworkConditions", {"offline": False, "latency": ROUND_TRIP_MS, **speed})
    page.goto(url, wait_until="commit")
    seen: dict[str, Any] = page.evaluate(READY)
    context.close()
    return seen


if __name__ == "__main__":
    main()
