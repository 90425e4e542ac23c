# The bridge as an image: it needs a config (mount it, or set ROWCAST_CONFIG) and a database.
# It serves on every address of its container, so the config needs `auth`: rules, or `none`.
#   docker build -t rowcast .
#   docker run -p 8765:8765 -e DATABASE_URL -v "$PWD/config.yaml:/etc/rowcast/config.yaml:ro" rowcast

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/rowcast && pip install --no-cache-dir build
COPY . .
RUN python -m build --wheel --outdir /dist \
    && /opt/rowcast/bin/pip install --no-cache-dir --constraint constraints.txt \
        "$(echo /dist/*.whl)[auth]"

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent rowcast
COPY --from=build /opt/rowcast /opt/rowcast
ENV PATH=/opt/rowcast/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    ROWCAST_CONFIG=/etc/rowcast/config.yaml
USER 10001
EXPOSE 8765
# Live, not ready: a bridge that waits for its database must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/healthz', timeout=2)"]
ENTRYPOINT ["rowcast"]
CMD ["serve", "--host", "0.0.0.0"]
