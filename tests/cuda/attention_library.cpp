// Which attention is used: what the setting, the element type and cuDNN's presence decide.
#include "kernels/cuda/attention/library.hpp"

#include <stdexcept>

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;
using cuda::AttentionSetting;
using cuda::Element;

namespace {

class Nothing final : public cuda::AttentionLibrary {
 public:
  bool forward(const cuda::AttentionViews&, const cuda::Documents&) override { return false; }
  bool backward(const cuda::AttentionViews&, const cuda::Documents&, const cuda::Matrix&, const cuda::Matrix&,
                const cuda::Matrix&, const cuda::Matrix&) override {
    return false;
  }
};

std::unique_ptr<cuda::AttentionLibrary> absent(bool) {
  throw std::runtime_error("cannot load cuDNN");
}

struct Outcome {
  bool library = false, asked = false, any_order = false;
  std::string said;
};

Outcome chosen(const std::string& setting, Element element, bool there) {
  Outcome outcome;
  const auto make = [&](bool any_order) -> std::unique_ptr<cuda::AttentionLibrary> {
    outcome.asked = true;
    outcome.any_order = any_order;
    return there ? std::make_unique<Nothing>() : absent(any_order);
  };
  const auto say = [&](const std::string& message) { outcome.said += message; };
  outcome.library = cuda::choose_attention(cuda::attention_setting(setting), element, make, say) != nullptr;
  return outcome;
}

std::string users_error(const std::function<void()>& f) {
  try {
    f();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("cuDNN's attention is taken in bfloat16 where it is there, adding in one order") {
  for (const char* setting : {"", "auto", "cudnn"}) {
    const Outcome outcome = chosen(setting, Element::bf16, true);
    CHECK(outcome.library);
    CHECK(!outcome.any_order);
    CHECK(outcome.said == "");  // it names itself
  }
  CHECK(chosen("cudnn-any-order", Element::bf16, true).any_order);
}

TEST_CASE("the own attention kernels are taken where cuDNN is absent, and the reason is said") {
  const Outcome outcome = chosen("auto", Element::bf16, false);
  CHECK(!outcome.library);
  CHECK(says(outcome.said, "own kernels"));
  CHECK(says(outcome.said, "cannot load cuDNN"));
}

TEST_CASE("cuDNN is not even loaded for float32 or where the setting is own") {
  for (const auto& [setting, element] :
       {std::pair{"auto", Element::f32}, {"cudnn", Element::f32}, {"own", Element::bf16}}) {
    const Outcome outcome = chosen(setting, element, true);
    CHECK(!outcome.asked);
    CHECK(!outcome.library);
    CHECK(says(outcome.said, "own kernels"));
  }
}

TEST_CASE("asking for cuDNN where it is absent, or for what is unknown, is the user's error") {
  CHECK(says(users_error([] { chosen("cudnn", Element::bf16, false); }), "cannot load cuDNN"));
  const std::string unknown = users_error([] { cuda::attention_setting("flash"); });
  CHECK(says(unknown, "COLLIE_ENGINE_ATTENTION is 'flash'"));
  CHECK(says(unknown, "cudnn-any-order"));
}
