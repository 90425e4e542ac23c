"""A Django application whose model a page follows live. Nothing in it knows of the bridge.

It is a whole application in one file; of yours, take nothing but the config and the four lines
of JavaScript. Whatever writes the table is seen: the ORM, the admin, `bulk_create`, raw SQL.

    pip install django 'psycopg[binary]'
    export DATABASE_URL=postgresql:///shop        # createdb shop
    python django_model.py check                  # makes the table, as `migrate` does elsewhere
    rowcast migrate && rowcast serve &
    python django_model.py runserver 8000
    open http://localhost:8000/

The bridge's config.yaml; Django names a table APP_MODEL:

    database: ${DATABASE_URL}
    server: {allowed_origins: ["http://localhost:8000"]}
    tables:
      orders:
        table: shop_order
        columns: [id, status]
"""

import os
import sys
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings
from django.core.management import execute_from_command_line

URL = urlsplit(os.environ["DATABASE_URL"])
BRIDGE = os.environ.get("BRIDGE_URL", "http://127.0.0.1:8765")

settings.configure(
    DEBUG=True,
    SECRET_KEY="only for this example",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["shop"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(URL.path.lstrip("/")),
            "HOST": URL.hostname or "",
            "PORT": URL.port or "",
            "USER": unquote(URL.username or ""),
            "PASSWORD": unquote(URL.password or ""),
        }
    },
)
sys.modules["shop"] = sys.modules[__name__]  # this file is the app
django.setup()

# What an application looks like. From here on nothing is special.

from django.db import connection, models  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.shortcuts import redirect  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    status = models.CharField(max_length=20, default="placed")

    class Meta:
        app_label = "shop"


PAGE = """<!doctype html>
<title>Orders</title>
<p role="status"></p>
<form action="/order" method="post"><button>Order something</button></form>
<ul></ul>
<script type="module">
import {connect} from "BRIDGE/rowcast.js";

const live = connect("BRIDGE");
const [status, list] = [document.querySelector("p"), document.querySelector("ul")];
live.subscribe((now) => (status.textContent = now));
live.rows("orders").subscribe((orders) =>
  list.replaceChildren(...orders.map(({id, status}) => item(`${id}: ${status}`))));

function item(text) {
  const element = document.createElement("li");
  element.textContent = text;
  return element;
}
</script>
"""


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE.replace("BRIDGE", BRIDGE))


@csrf_exempt
def order(request: HttpRequest) -> HttpResponse:
    Order.objects.create()
    return redirect("/")


urlpatterns = [path("", page), path("order", order)]


def make_table() -> None:
    """One file has no place for migrations."""
    if Order._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Order)


if __name__ == "__main__":
    make_table()
    execute_from_command_line(sys.argv)
