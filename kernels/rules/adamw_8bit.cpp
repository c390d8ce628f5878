#include "kernels/rules/rules.hpp"

namespace collie {

// AdamW with states of 8 bits (Dettmers et al., arXiv 2110.02861). Its options are adamw's; what is quantised
// is what bitsandbytes quantises.
QuantisedRule adamw_8bit_rule() {
  std::vector<Option> options = adamw_rule().options;
  options.push_back({"min_8bit_size", int64_t{4096}, "tensors with fewer elements keep states of 32 bits",
                     NumberRange::at_least(0)});
  return {.name = "adamw_8bit",
          .options = options,
          .with = [](const OptionValues& values) -> QuantisedUpdateRule {
            return {adamw_rule().with(values), values.whole_number("min_8bit_size")};
          },
          .keys = {.master = false, .rounding = "stochastic", .scheduler = {}}};
}

}  // namespace collie
