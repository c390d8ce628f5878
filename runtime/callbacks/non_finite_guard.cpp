// A step whose loss or gradient is not finite updates nothing anyway (Operations::step_outcome()). Without
// this callback it ends the run.
#include <fmt/format.h>

#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

class NonFiniteGuard final : public Callback {
 public:
  explicit NonFiniteGuard(const OptionValues& options)
      : stops_(options.text("action") == "stop"), most_(options.whole_number("most_in_a_row")) {}

  Remedy on_rejected(const RejectedStep& step) override {
    if (step.finite) return Remedy::none;
    const std::string what =
        fmt::format("non_finite_guard: step {}: the {}; it has {}", step.step, step.what, step.data);
    if (stops_) {
      run().warn(what);
      return Remedy::stop;
    }
    last_ = step.step;
    if (++in_a_row_ > most_) return Remedy::none;
    run().warn(fmt::format("{}. It is skipped, {} of at most {} in a row", what, in_a_row_, most_));
    return Remedy::skip;
  }
  void on_step(const StepFinished& step) override {
    if (step.step != last_) in_a_row_ = 0;
  }

  nlohmann::json save_state() const override { return {{"in_a_row", in_a_row_}}; }
  void load_state(const nlohmann::json& state) override { in_a_row_ = state.at("in_a_row").get<int64_t>(); }

 private:
  bool stops_;
  int64_t most_, in_a_row_ = 0;
  int64_t last_ = 0;  // the last step that was rejected
};

}  // namespace

std::unique_ptr<Callback> make_non_finite_guard(const OptionValues& options) {
  return std::make_unique<NonFiniteGuard>(options);
}

}  // namespace collie
