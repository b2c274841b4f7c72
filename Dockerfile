# The relay alone: one static binary, the certificate authorities that ACME and FCM need, and a place for certificates and the
# admin token. No shell, no root. The binary is the same, byte for byte, as that of `make release` (docs/deploy.md).
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download && go mod verify
COPY . .
RUN make dist/pyrycode-relay-$TARGETOS-$TARGETARCH && cp dist/pyrycode-relay-$TARGETOS-$TARGETARCH /pyrycode-relay
RUN mkdir -p -m 0755 /state && mkdir -m 0700 /state/pyrycode-relay

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /pyrycode-relay /pyrycode-relay
COPY --from=build --chown=65532:65532 /state/ /var/lib/
USER 65532:65532
ENV PYRYCODE_RELAY_PRODUCTION=1 \
    PYRYCODE_RELAY_CERT_CACHE=/var/lib/pyrycode-relay/certs \
    PYRYCODE_RELAY_ADMIN_TOKEN_FILE=/var/lib/pyrycode-relay/admin.token
EXPOSE 8080 8443
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["/pyrycode-relay", "healthcheck"]
ENTRYPOINT ["/pyrycode-relay"]
