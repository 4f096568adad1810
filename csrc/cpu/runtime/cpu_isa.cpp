#include "cpu/runtime/launch.h"

namespace internet::cpu {
namespace {

int64_t cpu_isa() { return int64_t(chosen_isa()); }

}  // namespace

// The operator has no tensor argument by whose device torch could choose a kernel.
STABLE_TORCH_LIBRARY_IMPL(internet, CompositeExplicitAutograd, m) { m.impl("cpu_isa", TORCH_BOX(&cpu_isa)); }

}  // namespace internet::cpu
