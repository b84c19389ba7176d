"""A development container of an environment: a published image by digest, and a user in it. Pure.

https://containers.dev/implementors/json_reference/
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from envmatrix.lock.images_lock import PublishedIndex

_USER = "dev"

# The tools of dev containers set the id of the user to that of the host's user, unless another user
# has it: so users of the image, such as Ubuntu's, get other ids.
ADD_USER = f"""\
#!/bin/sh
# {{banner}}
set -eu
free=60000
getent passwd | while IFS=: read -r name _ number _; do
  case $number in
    [1-9][0-9][0-9][0-9] | [1-5][0-9][0-9][0-9][0-9])
      while getent passwd "$free" >/dev/null; do free=$((free + 1)); done
      usermod --uid "$free" "$name"
      free=$((free + 1)) ;;
  esac
done
useradd --create-home --uid 1000 --shell /bin/bash {_USER}
"""


def devcontainer(environment: str, image: PublishedIndex, banner: str) -> Mapping[str, str]:
    """Return the files by path within `.devcontainer/<environment>`.

    A local feature creates the user: it needs no network, and the image stays as it was published.
    """
    container = {
        "name": environment,
        "image": image.reference,
        "features": {"./user": {}},
        "containerUser": _USER,
        "remoteUser": _USER,
        "updateRemoteUserUID": True,
        "hostRequirements": {"gpu": "optional"},
    }
    feature = {"id": "user", "version": "1.0.0", "name": f"The user {_USER}", "description": banner}
    return {
        "devcontainer.json": f"// {banner}\n{json.dumps(container, indent=2)}\n",
        "user/devcontainer-feature.json": json.dumps(feature, indent=2) + "\n",
        "user/install.sh": ADD_USER.format(banner=banner),
    }
