# The bridge as an image: it needs a config (mount it, or set ROWCAST_CONFIG) and a database.
# It serves on every address of its container, so the config needs `auth`: rules, or `none`.
# It writes nothing to its file system and needs no rights on it: --read-only --cap-drop ALL.
#   docker build -t rowcast .
#   docker run -p 8765:8765 -e DATABASE_URL -v "$PWD/config.yaml:/etc/rowcast/config.yaml:ro" rowcast

FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
# What builds the wheel is pinned as well: pip's own environment for that knows this variable.
ENV PIP_CONSTRAINT=/src/constraints.txt
RUN python -m venv /opt/rowcast \
    && /opt/rowcast/bin/pip install --no-cache-dir ".[auth,tracing]" \
    && /opt/rowcast/bin/pip uninstall --yes pip

FROM python:3.13-slim
RUN groupadd --gid 10001 rowcast \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent rowcast
COPY --from=build /opt/rowcast /opt/rowcast
ENV PATH=/opt/rowcast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ROWCAST_CONFIG=/etc/rowcast/config.yaml
USER 10001:10001
EXPOSE 8765
# Live, not ready: a bridge that waits for its database must not be restarted for it.
# With `server.tls` this needs https://, and so another --health-cmd.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/healthz', timeout=2)"]
ENTRYPOINT ["rowcast"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8765"]
