# The coordinator: one program on a small Debian. What is measured is what is here, so nothing else is.
#
# BASE    an image of the Debian release that the program was built on (its C library must not be older)
# BINARY  the built program, as a path in the build context
ARG BASE=debian:bookworm-slim
FROM ${BASE}

# Nobody in here can become another user: no file keeps a set-uid or set-gid bit.
RUN echo 'consort:x:10001:10001:Consort:/var/lib/consort:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'consort:x:10001:' >> /etc/group \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && install -d -m 0755 /etc/consort \
    && install -d -m 0700 -o 10001 -g 10001 /var/lib/consort /var/lib/consort/state /var/lib/consort/key

ARG BINARY=consort-coordinator
COPY --chown=0:0 --chmod=0755 ${BINARY} /usr/local/bin/consort-coordinator

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/consort

# Participants (attested channel), operators (TLS and token), metrics (plain HTTP: for the host's own network only).
EXPOSE 7400 7401 9400

STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/consort-coordinator", "serve", "--config", "/etc/consort/config.toml"]
