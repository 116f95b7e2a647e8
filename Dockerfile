# The supervisor as a container: docs/image.md says what each part is for, and how to run it.
# Works with the classic builder and with BuildKit, on every architecture that Debian and PyPI serve.

FROM debian:bookworm-slim AS build
ARG ARCH
RUN case "$(dpkg --print-architecture)" in \
        amd64) arch=amd64 ;; i386) arch=i386 ;; arm64) arch=aarch64 ;; armhf) arch=armv7hf ;; armel) arch=rpi ;; \
        *) arch="$(dpkg --print-architecture)" ;; \
    esac; \
    [ -z "$ARCH" ] || [ "$ARCH" = "$arch" ] || { echo "ARCH is $ARCH, but this base is for $arch" >&2; exit 1; }
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates gcc libc6-dev libdbus-1-dev libglib2.0-dev pkg-config python3-dev python3-venv
WORKDIR /src
# What is installed from elsewhere changes seldom, so it has a layer of its own.
COPY setup.cfg setup.py pyproject.toml ./
COPY balena_supervisor/__init__.py balena_supervisor/
RUN python3 -m venv /usr/src/app && /usr/src/app/bin/pip install --no-cache-dir .
COPY balena_supervisor balena_supervisor
# Byte code that is never compared with its source: starting reads one file for each module, and writes none. The
# supervisor itself runs without docstrings (level 2), which saves memory; its commands show theirs (level 0). What
# colours programs in other languages gets none. The binding of D-Bus to GLib needs a large library, and has no user.
RUN cd /usr/src/app \
    && bin/pip install --no-cache-dir --no-deps --force-reinstall /src \
    && bin/pip uninstall -y setuptools pip \
    && find . -name __pycache__ -prune -exec rm -r {} + \
    && rm -rf bin/activate* bin/Activate.ps1 include share lib64 lib/python3*/site-packages/_dbus_glib_bindings* \
    && bin/python -m compileall -q -o 0 -o 2 --invalidation-mode unchecked-hash -x /pygments/lexers/ lib

FROM debian:bookworm-slim
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        busybox ca-certificates dbus-bin dmsetup iptables kmod libdbus-1-3 python3 \
    && ln -s /bin/busybox /usr/local/bin/wget \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/log/*
COPY --from=build /usr/src/app /usr/src/app
COPY entry.sh /usr/src/app/
ARG ARCH
ARG VERSION=master
ENV LED_FILE=/dev/null \
    PYTHONDONTWRITEBYTECODE=1 \
    REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt \
    SUPERVISOR_IMAGE=${ARCH:+balena/$ARCH-supervisor} \
    VERSION=$VERSION
# Fails when a shared library is missing, on whatever architecture.
RUN ln -s /usr/src/app/bin/balena-supervisor /usr/local/bin/ \
    && /usr/src/app/bin/python -c "import dbus, balena_supervisor.supervise" && balena-supervisor --help >/dev/null
WORKDIR /usr/src/app
HEALTHCHECK --interval=5m --start-period=1m --timeout=30s --retries=3 \
    CMD wget http://127.0.0.1:${LISTEN_PORT:-48484}/v1/healthy -O - -q
CMD ["/usr/src/app/entry.sh"]
