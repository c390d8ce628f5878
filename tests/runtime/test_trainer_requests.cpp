// Programs that others ask for, between the steps of a run.
#include "runtime/asker.hpp"
#include "tests/runtime/trainer_run.hpp"

namespace collie::test {
namespace {

TEST_CASE("trainer core: requests wait for the end of the step, and come in the order in which they came",
          "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ask("early");  // no rank is ready
  CHECK(run.news().empty());
  run.ready();
  CHECK(run.news() == Log{"evaluate 0", "batch 1"});
  run.last_done();
  run.batch(1);
  CHECK(run.news() == Log{"batch 2", "train 1"});
  run.ask("speaker", 1, generation_program);
  run.ask("surveyor", 1, norm_program);
  run.batch(2);
  CHECK(run.news().empty());
  run.stepped();
  CHECK(run.news() == Log{"generate 1", "record 1", "batch 3"});  // a rank has room for two
  CHECK(run.outbox.programs.back()->step == 1);
  run.done(2);
  CHECK(run.news() == Log{"norm 1"});
  run.done(3);
  CHECK(run.news() == Log{"train 2"});
}

TEST_CASE("trainer core: where no step is computed a request is inserted at once", "[actors][trainer]") {
  Run run(everything_every_step());
  run.ready();
  run.news();
  run.ask("speaker", 1, generation_program);  // the loader is not ready
  CHECK(run.news() == Log{"generate 0"});
  run.reply(*run.outbox.programs.back(), tokens_name, 7);
  run.last_done();
  CHECK(run.news() == Log{"tokens 7 for speaker 1"});
  run.batch(1);
  run.stepped();
  run.last_done();
  CHECK(run.news() == Log{"batch 2", "train 1", "evaluation 1"});
  // Among the evaluation's programs, in turn.
  run.ask(evaluator_name, 1);
  run.ask("speaker", 2, generation_program);
  CHECK(run.news() == Log{"evaluate 1", "generate 1"});
  run.reply(*run.outbox.programs.at(2), loss_sum_name, 3);
  run.done(3);
  run.ask(evaluator_name, 2);
  CHECK(run.news() == Log{"loss_sum 3 for evaluator 1", "evaluate 1"});
}

TEST_CASE("trainer core: a requester has one request at a time", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready();
  run.ask("speaker", 1, generation_program);
  run.ask("surveyor", 1, norm_program);
  CHECK_THAT(assertion_of([&] { run.ask("speaker", 2, generation_program); }),
             contains("speaker asks for a program before its last request was answered"));
  CHECK_THAT(assertion_of([&] { run.ask("", 1); }), contains("by nobody"));
  run.reply(*run.outbox.programs.at(0), tokens_name, 7);
  run.ask("speaker", 2, generation_program);
}

TEST_CASE("trainer core: a norm that was asked for is no step", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready();
  run.ask("surveyor", 1, norm_program);
  run.news();
  const Program& program = *run.outbox.programs.at(0);
  CHECK(program.activation_limits == std::vector<int>{2, 1});
  run.core.reply(
      {tag, program.id, program.request, 0, 0, {{loss_sum_name, {5.0}}, {gradient_norm_name, {2.0}}}});
  CHECK(run.news() == Log{"loss_sum 5 for surveyor 1", "gradient_norm 2 for surveyor 1"});
  CHECK(run.outbox.records.empty());
  run.done(1);
  run.batch(1);
  CHECK(run.outbox.programs.back()->update == 1);
}

TEST_CASE("trainer core: the parts of data ranks are merged in rank order", "[actors][trainer]") {
  TrainerSettings settings = two_ranks(9);
  settings.layout.grid.pipeline = settings.layout.stages = 1;
  settings.layout.rank_of_stage = {0};
  settings.layout.grid.data = 2;
  Run run(settings);
  run.ready();
  run.ask(evaluator_name);
  ProgramRequest decoding = run.request_of("speaker", 1, generation_program, 1);
  auto batch = std::make_shared<StepBatch>();
  batch->micro_batches = {
      {.tokens = {5, 6, 7}, .labels = {0, 0, 0}, .positions = {0, 1, 0}, .document_starts = {0, 2, 3}}};
  decoding.batch = std::move(batch);
  decoding.decoding.next.resize(2);
  decoding.decoding.next[0].number = 8;
  decoding.decoding.next[1].number = 3;
  run.core.request(std::move(decoding));
  const Program &losses = *run.outbox.programs.at(0), &text = *run.outbox.programs.at(1);
  CHECK(losses.batches.at(0)->micro_batches.size() == 1);  // dealt
  // Each decodes the texts that are its own by their number.
  REQUIRE(text.batches.size() == 2);
  CHECK(text.batches[0]->micro_batches.at(0).tokens == std::vector<int32_t>{5, 6});
  CHECK(text.batches[1]->micro_batches.at(0).tokens == std::vector<int32_t>{7});
  run.news();
  const auto reply = [&](int rank, const Program& program, std::vector<NamedValues> values) {
    run.core.reply({tag, program.id, program.request, 0, rank, std::move(values)});
  };
  reply(1, losses, {{loss_sum_name, {1e16}}});
  CHECK(run.news().empty());
  reply(0, losses, {{loss_sum_name, {1.0}}});
  CHECK(run.news() == Log{fmt::format("loss_sum {} for evaluator 1", 0.0 + 1.0 + 1e16)});
  reply(0, text, {{tokens_name, {50.0}}, {sequences_name, {8.0}}});
  SECTION("as they are") {
    reply(1, text, {{tokens_name, {30.0}}, {sequences_name, {3.0}}});
    CHECK(run.news() == Log{"tokens 30 for speaker 1", "sequences 3 for speaker 1"});  // by number
  }
  SECTION("two that have the same text must agree") {
    CHECK_THAT(assertion_of([&] {
                 reply(1, text, {{tokens_name, {51.0}}, {sequences_name, {8.0}}});
               }),
               contains("does not agree"));
  }
}

TEST_CASE("trainer core: during training a generation that is finished frees its caches and ends nothing",
          "[actors][trainer]") {
  Run run(two_ranks(9));
  run.core.generated({tag, "speaker"});  // it has not begun
  run.ready();
  run.ask("speaker", 1, generation_program);
  run.reply(*run.outbox.programs.back(), tokens_name, 7);
  run.last_done();
  run.news();
  run.core.generated({tag, "speaker"});
  CHECK(run.news() == Log{"release 0"});
  CHECK(run.outbox.programs.back()->request.requester == "speaker");
  CHECK(run.outbox.programs.back()->lists->at(0).empty());
  run.last_done();
  run.ask("speaker", 2, generation_program);  // a new one
  run.batch(1);
  CHECK(run.news() == Log{"generate 0", "batch 2", "train 1"});
}

TEST_CASE("replies: a document's parts are added, and documents come in the order of their numbers",
          "[actors][trainer]") {
  const auto part = [](int rank, std::vector<DoubleBits> numbers, std::vector<DoubleBits> sums,
                       std::vector<DoubleBits> targets) {
    return ProgramReply{tag,
                        1,
                        {"reader", 1},
                        0,
                        rank,
                        {{loss_sum_name, {1.0}},
                         {documents_name, std::move(numbers)},
                         {document_loss_sums_name, std::move(sums)},
                         {document_targets_name, std::move(targets)}}};
  };
  const ProgramReply whole = merge_replies(
      evaluation_program,
      {{0, part(0, {40, 7, 40}, {1.0, 2.0, 0.25}, {3, 4, 0})}, {1, part(1, {9, 40}, {0.5, 4.0}, {1, 2})}});
  const auto numbers_of = [&](const char* name) {
    const auto& values = values_of(whole, name);
    return std::vector<double>(values.begin(), values.end());
  };
  CHECK(value_of(whole, loss_sum_name) == 2);
  CHECK(numbers_of(documents_name) == std::vector<double>{7, 9, 40});
  CHECK(numbers_of(document_loss_sums_name) == std::vector<double>{2, 0.5, 5.25});
  CHECK(numbers_of(document_targets_name) == std::vector<double>{4, 1, 5});
  CHECK_THAT(assertion_of([&] {
               merge_replies(evaluation_program, {{0, part(0, {1, 2}, {1.0}, {1})}});
             }),
             contains("rank 0 reports 2 documents, 1 losses"));
}

TEST_CASE("trainer core: an interruption drops requests and gives up their programs", "[actors][trainer]") {
  Run run(two_ranks(9));
  run.ready(true);
  run.step(1);
  run.ask("speaker", 1, generation_program);  // program 2
  run.batch(2);                               // program 3
  run.ask("surveyor", 1, norm_program);       // waits for step 2
  run.news();
  run.core.stop(RunStatus::interrupted);
  CHECK(run.news() == Log{"give up 2"});
  run.core.told();
  SECTION("whatever the ranks were at") {
    run.done_by(0, 2, false);
    run.done_by(0, 3, true);
    CHECK(run.news().empty());  // rank 1 may still finish program 2
    const bool gives_up = GENERATE(true, false);
    if (!gives_up) run.reply(*run.outbox.programs.at(1), tokens_name, 7);
    run.news();
    run.done_by(1, 2, gives_up);
    CHECK(run.news() == Log{"cut"});
    run.done_by(1, 3, true);
    CHECK(run.news() == Log{"expect 1 at 4", "snapshot 1"});
    run.last_done();
    run.written(1);
    CHECK(run.outbox.ends.at(0).step == 1);
  }
  SECTION("ranks that finish them nevertheless") {
    run.reply(*run.outbox.programs.at(1), tokens_name, 7);
    run.done(2);
    run.stepped();
    run.last_done();
    run.recorded(2);
    CHECK(run.news() == Log{"tokens 7 for speaker 1", "record 2", "expect 2 at 8", "snapshot 2"});
    run.ask("speaker", 2, generation_program);  // nobody answers it
    run.last_done();
    run.written(2);
    CHECK(run.outbox.ends.at(0).step == 2);
  }
}

TEST_CASE("trainer core: an interruption between an evaluation's programs gives up others' alone",
          "[actors][trainer]") {
  Run run(everything_every_step());
  run.ready(true);
  run.batch(1);
  run.stepped();
  run.last_done();
  run.ask(evaluator_name, 1);
  run.ask("speaker", 1, generation_program);  // program 3
  run.reply(*run.outbox.programs.at(1), loss_sum_name, 3);
  run.done(2);
  run.news();
  run.core.stop(RunStatus::interrupted);
  CHECK(run.news() == Log{"give up 3"});
  run.done_by(0, 3, true);
  run.done_by(1, 3, true);
  CHECK(run.news().empty());
  if (GENERATE(true, false))
    run.ask(evaluator_name, 2);
  else
    run.evaluated(1);
  CHECK(run.news().back() == "record 1");
  run.recorded(1);
  run.last_done();
  run.written(1);
  CHECK(run.outbox.ends.at(0).exit_code == 130);
}

TEST_CASE("trainer core: a run that is about to end takes no more requests", "[actors][trainer]") {
  Run run(two_ranks(1));
  run.ready();
  run.batch(1);
  run.ask("speaker", 1, generation_program);
  run.stepped();
  run.done(1);
  run.recorded(1);
  run.done(2);  // what was asked for in time is inserted, and the run waits for it
  run.done(3);
  run.written(1);
  CHECK(run.outbox.ends.empty());
  run.reply(*run.outbox.programs.at(1), tokens_name, 7);
  CHECK(run.outbox.ends.size() == 1);

  Run late(two_ranks(1));
  late.ready();
  late.step(1);
  late.news();
  late.ask("speaker", 1, generation_program);
  CHECK(late.news().empty());
}

TEST_CASE("asker: numbers its requests and drops what does not answer the last one", "[actors]") {
  Asker asker(tag, "speaker");
  const ProgramRequest first = asker.ask(generation_program, nullptr);
  CHECK(first.request == Request{"speaker", 1});
  CHECK(first.tag == tag);
  CHECK_THAT(assertion_of([&] { asker.ask(generation_program, nullptr); }), contains("speaker asks"));
  CHECK_FALSE(asker.accept({RunTag{7, 2}, 1, first.request, 0, 0, {}}));
  CHECK_FALSE(asker.accept({tag, 1, {"speaker", 2}, 0, 0, {}}));
  CHECK_FALSE(asker.accept({tag, 1, {"evaluator", 1}, 0, 0, {}}));
  CHECK(asker.accept({tag, 1, first.request, 0, 0, {}}));
  CHECK_FALSE(asker.accept({tag, 1, first.request, 0, 0, {}}));
  CHECK(asker.ask(generation_program, nullptr).request.number == 2);
}

}  // namespace
}  // namespace collie::test
