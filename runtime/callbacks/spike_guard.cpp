// A step whose loss or gradient norm is far above those of the steps before it updates nothing. The limits
// are made from the last steps that did update, before the step begins, so that all ranks apply them to the
// same numbers without waiting for anybody.
#include <fmt/format.h>

#include <cmath>
#include <deque>
#include <numeric>

#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

double mean_of(const std::deque<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation_of(const std::deque<double>& values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

class SpikeGuard final : public Callback {
 public:
  explicit SpikeGuard(const OptionValues& options)
      : stops_(options.text("action") == "stop"),
        deviations_(options.number("loss_deviations")),
        norm_factor_(options.number("norm_factor")),
        window_(static_cast<size_t>(options.whole_number("window"))),
        first_steps_(static_cast<size_t>(options.whole_number("first_steps"))),
        most_(options.whole_number("most_in_a_row")) {}

  StepLimits on_step_begin(int64_t) override {
    StepLimits limits;
    // A level that has risen for good is no spike.
    if (losses_.size() < first_steps_ || in_a_row_ >= most_) return limits;
    if (deviations_ > 0) limits.loss = mean_of(losses_) + deviations_ * deviation_of(losses_);
    if (norm_factor_ > 0) limits.grad_norm = norm_factor_ * mean_of(norms_);
    return limits;
  }

  Remedy on_rejected(const RejectedStep& step) override {
    if (!step.finite) return Remedy::none;
    last_ = step.step;
    ++in_a_row_;
    run().warn(fmt::format("spike_guard: step {}: the {}; it has {}. {}", step.step, step.what, step.data,
                           stops_ ? "The run ends" : "It is skipped"));
    return stops_ ? Remedy::stop : Remedy::skip;
  }

  void on_step(const StepFinished& step) override {
    if (step.step == last_ || !step.loss || !std::isfinite(*step.loss)) return;
    in_a_row_ = 0;
    losses_.push_back(*step.loss);
    norms_.push_back(step.grad_norm);
    if (losses_.size() > window_) losses_.pop_front();
    if (norms_.size() > window_) norms_.pop_front();
  }

  nlohmann::json save_state() const override {
    return {{"losses", losses_}, {"norms", norms_}, {"in_a_row", in_a_row_}};
  }
  void load_state(const nlohmann::json& state) override {
    losses_ = state.at("losses").get<std::deque<double>>();
    norms_ = state.at("norms").get<std::deque<double>>();
    in_a_row_ = state.at("in_a_row").get<int64_t>();
    while (losses_.size() > window_) losses_.pop_front();
    while (norms_.size() > window_) norms_.pop_front();
  }

 private:
  bool stops_;
  double deviations_, norm_factor_;
  size_t window_, first_steps_;
  int64_t most_, in_a_row_ = 0;
  int64_t last_ = 0;                   // the last step that was rejected
  std::deque<double> losses_, norms_;  // of the last steps that updated, at most window_
};

}  // namespace

std::unique_ptr<Callback> make_spike_guard(const OptionValues& options) {
  return std::make_unique<SpikeGuard>(options);
}

}  // namespace collie
