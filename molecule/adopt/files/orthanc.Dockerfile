# Debian's Orthanc as auscat/orthanc has it: its own orthanc.json, or the secret's, as root, and no guard.
ARG BASE
FROM ${BASE}
USER root
RUN mkdir /etc/by_hand /etc/by_hand.default \
 && place='"/var/lib/orthanc/db"' \
 && echo "{\"StorageDirectory\": $place, \"IndexDirectory\": $place}" > /etc/by_hand/own.json \
 && echo '{"RemoteAccessAllowed": true, "RegisteredUsers": {"admin": "admin"}}' > /etc/by_hand.default/orthanc.json
HEALTHCHECK NONE
ENTRYPOINT ["sh", "-c", "cp /etc/by_hand.default/* /etc/by_hand; cp /run/secrets/*.json /etc/by_hand; exec Orthanc /etc/by_hand"]
