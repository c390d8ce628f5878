// Ends a run whose evaluations do not get better any more.
#include <fmt/format.h>

#include <cmath>

#include "base/error.hpp"
#include "io/evaluated_checkpoints.hpp"
#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

class EarlyStopping final : public Callback {
 public:
  explicit EarlyStopping(const OptionValues& options)
      : metric_(options.text("metric")),
        higher_(is_higher_better(metric_, options.text("mode"))),
        patience_(options.whole_number("patience")),
        min_delta_(options.number("min_delta")) {}

  // What is not finite is not better.
  void on_evaluation(const EvaluationFinished& evaluation) override {
    const double value = value_of(evaluation);
    if (std::isfinite(value) && (!best_ || (higher_ ? value > limit() : value < limit()))) {
      best_ = value;
      best_step_ = evaluation.step;
      worse_ = 0;
      return;
    }
    ++worse_;
    stop_if_due();
  }

  nlohmann::json save_state() const override {
    nlohmann::json state{{"best_step", best_step_}, {"worse", worse_}};
    if (best_) state["best"] = *best_;
    return state;
  }
  void load_state(const nlohmann::json& state) override {
    if (state.contains("best")) best_ = state.at("best").get<double>();
    best_step_ = state.at("best_step").get<int64_t>();
    worse_ = state.at("worse").get<int64_t>();
  }
  // A run that this callback has ended does not go on when it is resumed, unless it has more patience now.
  void on_train_begin() override { stop_if_due(); }

 private:
  // What a value must be beyond to be better.
  double limit() const { return higher_ ? *best_ + min_delta_ : *best_ - min_delta_; }

  double value_of(const EvaluationFinished& evaluation) const {
    if (const auto value = evaluated_value(evaluation, metric_)) return *value;
    std::string names;
    for (const EvaluatedMetric& metric : evaluation.metrics)
      names += (names.empty() ? "" : ", ") + metric.name;
    throw RunError("early_stopping: the evaluation of step {} has no '{}'; it has {}", evaluation.step,
                   metric_, names.empty() ? "no metric" : names);
  }

  void stop_if_due() {
    if (worse_ < patience_) return;
    run().stop(best_ ? fmt::format("early_stopping: {} was not {} {:.6g}, after that of step {}, in {} "
                                   "evaluations one after another",
                                   metric_, higher_ ? "above" : "below", limit(), best_step_, worse_)
                     : fmt::format("early_stopping: {} was not finite in {} evaluations", metric_, worse_));
  }

  std::string metric_;
  bool higher_;
  int64_t patience_;
  double min_delta_;
  std::optional<double> best_;
  int64_t best_step_ = 0, worse_ = 0;
};

}  // namespace

std::unique_ptr<Callback> make_early_stopping(const OptionValues& options) {
  return std::make_unique<EarlyStopping>(options);
}

}  // namespace collie
