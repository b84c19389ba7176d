"""A development container of an environment: a published image by digest, and a user in it. Pure.

https://containers.dev/implementors/json_reference/
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from envmatrix.lock.images import PublishedIndex

_USER = "dev"

# The tools of these containers give the user the number of whoever opens them, unless it is another
# user's: so those that an image brings, such as Ubuntu's, make room.
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
    """Path within `.devcontainer/<environment>` -> text.

    The user is made by a feature of the container's own: it needs no network, and the image stays
    as it was published.
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
    feature = {
        "id": "user",
        "version": "1.0.0",
        "name": f"The user {_USER}",
        "description": banner,
    }
    return {
        "devcontainer.json": f"// {banner}\n{json.dumps(container, indent=2)}\n",
        "user/devcontainer-feature.json": json.dumps(feature, indent=2) + "\n",
        "user/install.sh": ADD_USER.format(banner=banner),
    }
