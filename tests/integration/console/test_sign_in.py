"""Keys at the console's door, in a real browser in front of the real API."""

import httpx
from selenium.webdriver.common.by import By

from api.auth import new_api_key
from tests.integration.console.conftest import Console, Served


def test_a_wrong_key_is_reported_and_not_kept(console: Console) -> None:
    console.excused = ("401 (Unauthorized)",)
    console.open("jobs", key=new_api_key())
    console.shows("does not know this key", "#key-error")
    assert console.page.execute_script("return sessionStorage.length") == 0
    assert not console.page.find_element(By.ID, "places").is_displayed()


def test_a_key_that_is_revoked_leads_back_to_the_sign_in(console: Console, served: Served) -> None:
    console.excused = ("401 (Unauthorized)",)
    headers = {"Authorization": f"Bearer {served.key}"}
    body = {"name": "short-lived", "scopes": ["jobs:read"]}
    made = httpx.post(f"{served.url}/v1/keys", json=body, headers=headers, timeout=60).json()
    console.open("jobs", key=made["key"])
    console.shows("Jobs", "h1")
    httpx.delete(f"{served.url}/v1/keys/{made['id']}", headers=headers, timeout=60).raise_for_status()
    console.page.find_element(By.LINK_TEXT, "Methods").click()
    console.shows("not valid", "#key-error")
    assert console.page.execute_script("return sessionStorage.length") == 0
