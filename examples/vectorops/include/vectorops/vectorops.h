#pragma once

#include <vectorops/error.h>
#include <vectorops/info.h>
#include <vectorops/ops.h>
#include <vectorops/reference.h>
#include <vectorops/span.h>
#include <vectorops/version.h>
