# The image that workers run: Beam's own, with lethe in it. `docs/engines.md` says how to build and use it:
#
#     pip wheel --no-deps --wheel-dir dist .
#     docker build --tag REGISTRY/lethe:0.1.0 .
#
# The base has the Python and the Beam of constraints.txt; a test holds them together.
FROM apache/beam_python3.11_sdk:2.77.0

COPY constraints.txt dist/lethe-*.whl /opt/lethe/
RUN pip install --no-cache-dir --constraint /opt/lethe/constraints.txt /opt/lethe/lethe-*.whl \
    && pip check

# What is worked out once for a machine: the networks of an IP database, compiled kernels.
ENV LETHE_CACHE=/var/cache/lethe \
    NUMBA_CACHE_DIR=/var/cache/lethe/kernels \
    OPENBLAS_NUM_THREADS=1
RUN mkdir -p /var/cache/lethe/kernels && chmod -R 777 /var/cache/lethe
