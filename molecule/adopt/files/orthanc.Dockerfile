# Debian's Orthanc as auscat/orthanc has it: its own orthanc.json, or the secret's, as root, and no guard.
ARG BASE
FROM ${BASE}
USER root
RUN mkdir /etc/by_hand /etc/by_hand.default \
 && echo '{"StorageDirectory": "/var/lib/orthanc/db", "IndexDirectory": "/var/lib/orthanc/db"}' > /etc/by_hand/own.json \
 && echo '{"RemoteAccessAllowed": true, "RegisteredUsers": {"admin": "admin"}}' > /etc/by_hand.default/orthanc.json
HEALTHCHECK NONE
ENTRYPOINT ["sh", "-c", "for f in /run/secrets/orthanc.json /etc/by_hand.default/orthanc.json; do [ -e $f ] && cp $f /etc/by_hand/ && break; done; exec Orthanc /etc/by_hand"]
