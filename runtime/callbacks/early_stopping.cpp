// Ends a run whose evaluations do not get better any more.
#include <fmt/format.h>

#include <cmath>

#include "runtime/callbacks/callbacks.hpp"

namespace collie {

namespace {

class EarlyStopping final : public Callback {
 public:
  explicit EarlyStopping(const OptionValues& options)
      : patience_(options.whole_number("patience")), min_delta_(options.number("min_delta")) {}

  // What is not finite is not better.
  void on_evaluation(const EvaluationFinished& evaluation) override {
    const double loss = evaluation.loss;
    if (std::isfinite(loss) && (!best_ || loss < *best_ - min_delta_)) {
      best_ = loss;
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
  void stop_if_due() {
    if (worse_ < patience_) return;
    run().stop(best_ ? fmt::format("early_stopping: eval_loss was not below {:.6g}, that of step {}, in {} "
                                   "evaluations one after another",
                                   *best_ - min_delta_, best_step_, worse_)
                     : fmt::format("early_stopping: eval_loss was not finite in {} evaluations", worse_));
  }

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
