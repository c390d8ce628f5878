// Every kind of adapter, on a base of numbers and of codes, in layouts that have every pair of options,
// against one rank.
#include "tests/actors/adapter_runs.hpp"
#include "tests/catch.hpp"

namespace collie::test {
namespace {

const std::vector<std::string> adapter_kinds = {
    "lora",   "lora_all", "adalora_all", "dora_all",   "ia3",           "pissa",   "olora",       "seq_bn",
    "par_bn", "prompt",   "prefix",      "prefix_mlp", "double_seq_bn", "ptuning", "ptuning_lstm"};

// What is refused, or cannot be.
bool can_have_adapters(const LayoutCase& each) {
  const std::string& peft = each.maths.peft;
  const bool starts_from_base = peft == "pissa" || peft == "olora";
  return each.is_possible() && !(starts_from_base && each.maths.quantisation != "none") &&
         !(peft == "prefix_mlp" && each.layout.pp > 1) &&
         !(peft == "ia3" && each.maths.family == "phi3");  // which has no matrices by default
}

// Every 149th of all, in an order in which neighbours differ in the maths: all pairs of options are still
// among them.
std::vector<LayoutCase> all_adapter_cases() {
  std::vector<LayoutCase> all;
  size_t number = 0;
  for (const LayoutOptions& layout : all_layouts())
    for (const std::string& kind : adapter_kinds)
      for (const char* quantisation : {"none", "nf4", "fp4", "int8"})
        for (const char* family : {"llama", "gpt2", "phi3"})
          for (const char* dtype : {"float32", "bfloat16"})
            for (const int64_t size : {1, 2, 4}) {
              MathsOptions maths{true, true, false, 16, size};
              maths.peft = kind;
              maths.quantisation = quantisation;
              maths.family = family;
              maths.dtype = dtype;
              const LayoutCase each{maths, layout};
              if (can_have_adapters(each) && number++ % 149 == 0) all.push_back(each);
            }
  return all;
}

}  // namespace

TEST_CASE("layouts: every kind of adapter trains as on one rank in every pair of options",
          "[actors][layouts][adapters][slow][long]") {
  check_covering_cases(all_adapter_cases());
}

}  // namespace collie::test
