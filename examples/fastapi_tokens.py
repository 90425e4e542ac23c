"""A FastAPI backend that lets each user follow their own orders, and nobody else's.

The backend knows who is logged in; it signs that into a token of a few minutes, which the page
takes to the bridge. The bridge asks the backend nothing: it checks the signature, and its rules
say what the claims allow.

    pip install fastapi uvicorn 'PyJWT>=2.12'
    export JWT_SECRET=$(openssl rand -hex 32)
    rowcast migrate && rowcast serve &
    uvicorn fastapi_tokens:app --port 8000
    open http://localhost:8000/?user=7

The bridge's config.yaml:

    database: ${DATABASE_URL}
    server: {allowed_origins: ["http://localhost:8000"]}
    auth:
      jwt: {secret: "${JWT_SECRET}"}
      allow:
        - topic: "customers/{claims.sub}/orders"
    tables:
      orders:
        topics: ["customers/{customer_id}/orders"]
        columns: [id, customer_id, status]
"""

import os
import time
from typing import Annotated

import jwt
from fastapi import Cookie, FastAPI, HTTPException
from fastapi.responses import HTMLResponse, PlainTextResponse

SECRET = os.environ["JWT_SECRET"]
BRIDGE = os.environ.get("BRIDGE_URL", "http://127.0.0.1:8765")
MINUTES = float(os.environ.get("TOKEN_MINUTES", "5"))

app = FastAPI()

PAGE = """<!doctype html>
<title>My orders</title>
<p role="status"></p>
<ul></ul>
<script type="module">
import {connect} from "BRIDGE/rowcast.js";

// Asked again for every connection, and before the token ends.
const token = async () => {
  const answer = await fetch("/token");
  if (!answer.ok) throw new Error(await answer.text());
  return answer.text();
};

const live = connect("BRIDGE", {token});
const [status, list] = [document.querySelector("p"), document.querySelector("ul")];
live.subscribe((now) => (status.textContent = now));
live.rows("customers/{customer_id}/orders", {customer_id: "USER"}).subscribe(
  (orders) => list.replaceChildren(...orders.map(({id, status}) => item(`${id}: ${status}`))),
  (error) => list.replaceChildren(item(error.message)),
);

function item(text) {
  const element = document.createElement("li");
  element.textContent = text;
  return element;
}
</script>
"""


@app.get("/")
def page(user: int) -> HTMLResponse:
    """In place of a login: whoever asks is whom they say. Have a real session here."""
    response = HTMLResponse(PAGE.replace("BRIDGE", BRIDGE).replace("USER", str(user)))
    response.set_cookie("user", str(user), httponly=True, samesite="strict")
    return response


@app.get("/token")
def token(user: Annotated[str | None, Cookie()] = None) -> PlainTextResponse:
    """What the bridge is shown: who this is, and until when that holds."""
    if user is None:
        raise HTTPException(401, "not logged in")
    claims = {"sub": user, "exp": time.time() + MINUTES * 60}
    signed = jwt.encode(claims, SECRET, algorithm="HS256")
    return PlainTextResponse(signed, headers={"Cache-Control": "no-store"})
