# syntax=docker/dockerfile:1
# The image for those who have a container builder; `cargo xtask image` needs none and gives the
# same. Static programs and the certificate authorities, nothing else: no shell, no libc.
#
#   docker build --tag registry.example.com/you/agentvm:0.1.0 .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# .cargo/config.toml has the flags that make programs static, and names a target: hence the glob.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package agentvm --package agentvm-cell \
        --package agentvm-gateway --package agentvm-node-agent --package agentvm-operator \
 && mkdir /image \
 && for program in agentvm agentvm-cell agentvm-gateway agentvm-node-agent agentvm-operator; do \
        strip -o "/image/$program" target/*/release/"$program" || exit 1; \
    done

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /image/ /
ENV PATH=/
USER 65532:65532
ENTRYPOINT ["/agentvm"]
