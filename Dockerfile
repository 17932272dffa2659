# A container with the static program and root certificates. docs/install.md describes its use.
#
# Every RUN line is a make target that `make package` runs and checks on the machine itself (.ci/check-dockerfile), because CI has no
# Docker. The tag is not pinned to a digest: no container registry was reachable to look one up.

FROM rust:1.95.0-bookworm AS build
WORKDIR /yotpo-td
# With .git, which has the commit and the date for `yotpo-td --version`.
COPY . .
RUN make image-root

# Nothing but the program needs to be kept up to date: there is no shell, no C library and no package manager.
FROM scratch
LABEL org.opencontainers.image.title="yotpo-td" \
      org.opencontainers.image.description="Load all Yotpo loyalty customers into Treasure Data, exactly once or not at all" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /yotpo-td/target/image/etc /etc
COPY --from=build /yotpo-td/target/image/usr /usr
COPY --from=build --chown=65532:65532 /yotpo-td/target/image/tmp /tmp
COPY --from=build --chown=65532:65532 /yotpo-td/target/image/var/lib/yotpo-td /var/lib/yotpo-td
# Numeric, so that Kubernetes can check that it is not root (runAsNonRoot).
USER 65532:65532
# PATH is for schedulers that name the program as their command, such as the examples for Kubernetes.
ENV PATH=/usr/bin YOTPO_TD_STATE_DIR=/var/lib/yotpo-td
VOLUME /var/lib/yotpo-td
ENTRYPOINT ["/usr/bin/yotpo-td"]
CMD ["--help"]
