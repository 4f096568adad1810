#pragma once
#include "without_torch.h"
