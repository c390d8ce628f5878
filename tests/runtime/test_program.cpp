#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"
#include "runtime/program.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/runtime/recorders.hpp"

namespace collie::test {
namespace {

Layout layout_of(int ranks, bool tied = false, bool split = false) {
  Layout layout;
  layout.grid.pipeline = layout.stages = ranks;
  for (int stage = 0; stage < ranks; ++stage) layout.rank_of_stage.push_back(stage);
  layout.tied = tied;
  layout.split_backward = split;
  return layout;
}

std::vector<std::string> text_of(const ProgramTasks& tasks) {
  std::vector<std::string> text;
  for (const auto& list : tasks.lists) {
    std::vector<std::string> words;
    for (const Task& task : list) words.push_back(to_string(task));
    text.push_back(fmt::format("{}", fmt::join(words, ", ")));
  }
  return text;
}

TEST_CASE("programs: a training step on one rank", "[actors][program]") {
  CHECK(text_of(tasks_of(training_program, layout_of(1), 2)) ==
        std::vector<std::string>{
            "0F0, 0B0, 0F1, 0B1, reduce gradients, sum squares, synchronize step, update"});
  CHECK(tasks_of(training_program, layout_of(1), 2).activation_limits == std::vector<int>{1});
}

TEST_CASE("programs: a training step on two ranks", "[actors][program]") {
  CHECK(text_of(tasks_of(training_program, layout_of(2), 2)) ==
        std::vector<std::string>{"0F0, 0SEND_F0, 0F1, 0SEND_F1, 0RECV_B0, 0B0, 0RECV_B1, 0B1, reduce "
                                 "gradients, sum squares, synchronize step, update",
                                 "1RECV_F0, 1F0, 1B0, 1SEND_B0, 1RECV_F1, 1F1, 1B1, 1SEND_B1, reduce "
                                 "gradients, sum squares, synchronize step, update"});
  CHECK(tasks_of(training_program, layout_of(2), 2).activation_limits == std::vector<int>{2, 1});
}

TEST_CASE("programs: a tied matrix's gradient goes to the embedding, its weight comes back",
          "[actors][program]") {
  CHECK(text_of(tasks_of(training_program, layout_of(1, true), 1)) ==
        std::vector<std::string>{
            "0F0, 0B0, reduce gradients, add tied gradient, sum squares, synchronize step, update"});
  CHECK(text_of(tasks_of(training_program, layout_of(2, true), 1)) ==
        std::vector<std::string>{
            "0F0, 0SEND_F0, 0RECV_B0, 0B0, reduce gradients, receive tied gradient, add tied gradient, sum "
            "squares, synchronize step, update, send tied weight",
            "1RECV_F0, 1F0, 1B0, 1SEND_B0, reduce gradients, send tied gradient, sum squares, synchronize "
            "step, update, "
            "receive tied weight"});
  const auto middle = text_of(tasks_of(training_program, layout_of(3, true), 1))[1];
  CHECK_THAT(middle, !contains("tied"));
}

TEST_CASE("programs: an estimate is a step that changes no weight", "[actors][program]") {
  CHECK(text_of(tasks_of(estimate_program, layout_of(1), 2)) ==
        text_of(tasks_of(training_program, layout_of(1), 2)));
  CHECK(text_of(tasks_of(estimate_program, layout_of(2, true), 1)) ==
        std::vector<std::string>{
            "0F0, 0SEND_F0, 0RECV_B0, 0B0, reduce gradients, receive tied gradient, add tied gradient, sum "
            "squares, synchronize step, update",
            "1RECV_F0, 1F0, 1B0, 1SEND_B0, reduce gradients, send tied gradient, sum squares, synchronize "
            "step, update"});
}

TEST_CASE("programs: the head's rank gets the average of a tied matrix before it evaluates or decodes",
          "[actors][program]") {
  Layout layout = layout_of(3, true);
  layout.tied_average = true;
  for (const ProgramKind& kind : {evaluation_program, generation_program}) {
    const auto text = text_of(tasks_of(kind, layout, 1));
    CHECK_THAT(text[0], contains("send tied weight, 0F0"));
    CHECK_THAT(text[1], !contains("tied"));
    CHECK_THAT(text[2], contains("receive tied weight, 2RECV_F0"));
  }
  CHECK(text_of(tasks_of(training_program, layout, 1)) ==
        text_of(tasks_of(training_program, layout_of(3, true), 1)));
  Layout alone = layout_of(1, true);
  alone.tied_average = true;
  CHECK_THAT(text_of(tasks_of(evaluation_program, alone, 1))[0], !contains("tied"));
}

TEST_CASE("programs: a split backward", "[actors][program]") {
  CHECK(text_of(tasks_of(training_program, layout_of(1, false, true), 1)) ==
        std::vector<std::string>{"0F0, 0I0, 0W0, reduce gradients, sum squares, synchronize step, update"});
}

TEST_CASE("programs: a schedule that does not exist is refused", "[actors][program]") {
  Layout layout = layout_of(2);
  layout.schedule = "2f2b";
  CHECK_THROWS_AS(tasks_of(training_program, layout, 2), UserError);
}

TEST_CASE("programs: evaluation", "[actors][program]") {
  CHECK(text_of(tasks_of(evaluation_program, layout_of(2), 2)) ==
        std::vector<std::string>{"0F0, 0SEND_F0, 0F1, 0SEND_F1",
                                 "1RECV_F0, 1F0, 1RECV_F1, 1F1, report losses"});
  CHECK(text_of(tasks_of(evaluation_program, layout_of(1, true), 1)) ==
        std::vector<std::string>{"0F0, report losses"});
}

TEST_CASE("programs: generation, snapshots, and what frees the caches", "[actors][program]") {
  CHECK(text_of(tasks_of(generation_program, layout_of(2), 1)) ==
        std::vector<std::string>{"0F0, 0SEND_F0", "1RECV_F0, 1F0, sample"});
  CHECK(text_of(tasks_of(snapshot_program, layout_of(3), 0)) == std::vector<std::string>(3, "snapshot"));
  CHECK(text_of(tasks_of(release_program, layout_of(3), 0)) == std::vector<std::string>(3, ""));
}

TEST_CASE("programs: two stages per rank hand over on the rank itself", "[actors][program]") {
  Layout layout = layout_of(2);
  layout.stages = 4;
  layout.virtual_stages = 2;
  layout.rank_of_stage = {0, 1, 1, 0};  // a V: stages 1 and 2 are neighbours on rank 1
  CHECK(text_of(tasks_of(evaluation_program, layout, 1)) ==
        std::vector<std::string>{"0F0, 0SEND_F0, 3RECV_F0, 3F0, report losses",
                                 "1RECV_F0, 1F0, 2F0, 2SEND_F0"});
}

TEST_CASE("programs: the norm alone is a step without its update", "[actors][program]") {
  CHECK(text_of(tasks_of(norm_program, layout_of(2, true), 1)) ==
        std::vector<std::string>{
            "0F0, 0SEND_F0, 0RECV_B0, 0B0, reduce gradients, receive tied gradient, add tied gradient, sum "
            "squares, synchronize step",
            "1RECV_F0, 1F0, 1B0, 1SEND_B0, reduce gradients, send tied gradient, sum squares, synchronize "
            "step"});
  CHECK(tasks_of(norm_program, layout_of(2), 2).activation_limits == std::vector<int>{2, 1});
}

TEST_CASE("programs: parts that do not fit together are refused", "[actors][program]") {
  const auto refusal = [](const ProgramKind& kind) {
    return assertion_of([&] { tasks_of(kind, layout_of(2), 1); });
  };
  CHECK_THAT(refusal({Pass::loss, GradientUse::update, Epilogue::update}), contains("a training pass alone"));
  CHECK_THAT(refusal({Pass::train, GradientUse::none, Epilogue::report}), contains("a training pass alone"));
  CHECK_THAT(refusal({Pass::train, GradientUse::norm_only, Epilogue::update}), contains("an update needs"));
  CHECK_THAT(refusal({Pass::loss, GradientUse::none, Epilogue::sample}), contains("after decoding"));
  CHECK_THAT(refusal({Pass::decode, GradientUse::none, Epilogue::report}), contains("after decoding"));
  CHECK_THAT(refusal({Pass::none, GradientUse::none, Epilogue::report}), contains("without a batch"));
  CHECK_THAT(refusal({Pass::loss, GradientUse::none, Epilogue::snapshot}), contains("without a batch"));
}

}  // namespace
}  // namespace collie::test
