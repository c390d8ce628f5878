#include "io/checkpoint.hpp"

#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.hpp"
#include "io/run_marker.hpp"
#include "io/safetensors.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

namespace collie {
namespace {

namespace fs = std::filesystem;

Tensor host_tensor(const Shape& shape) {
  return Tensor::host(shape, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
}

// Element (row, column) of the whole [rows, columns] is 10 · row + column.
CheckpointSlice slice_of(const Shape& whole, int64_t first_row, int64_t first_column, const Shape& part) {
  CheckpointSlice slice{"layer.weight", "weight", whole, {first_row, first_column}, host_tensor(part)};
  for (int64_t i = 0; i < part[0]; ++i)
    for (int64_t j = 0; j < part[1]; ++j)
      slice.data.data<float>()[i * part[1] + j] = static_cast<float>(10 * (first_row + i) + first_column + j);
  return slice;
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

const std::string our_run(32, 'a'), other_run(32, 'b');

nlohmann::json metadata(int64_t position = 7) {
  return {{"position", position}, {"maths", nlohmann::json::object()}};
}

void write_one(const std::string& folder, int64_t step, const std::string& run = our_run) {
  CheckpointFolderSink sink({folder, run});
  write_checkpoint(sink, step, metadata(), {{slice_of({2, 2}, 0, 0, {2, 2})}});
}

}  // namespace

TEST_CASE("codes of 8 bits are one byte each in a checkpoint, and read as the numbers they are") {
  const test::ScratchFolder folder;
  const auto codes = [](int64_t first, int64_t count) {
    Tensor x = Tensor::host({count}, DType::u8, std::make_shared<MemoryAccount>(), Category::optimizer);
    for (int64_t i = 0; i < count; ++i) x.data<uint8_t>()[i] = static_cast<uint8_t>(first + i);
    return CheckpointSlice{"w", "exp_avg_codes", {256}, {first}, x};
  };
  CheckpointFolderSink sink({folder.path(), our_run});
  write_checkpoint(sink, 3, metadata(), {{codes(0, 100)}, {codes(100, 156)}});
  const fs::path shard = fs::path(folder / "step-00000003") / "shard-00001.safetensors";
  CHECK(SafetensorsFile(shard).tensors().front().dtype == "U8");
  CHECK(SafetensorsFile(shard).tensors().front().bytes() == 156);
  Tensor part = host_tensor({200});
  Checkpoint::open(folder / "step-00000003").read("w", "exp_avg_codes", {256}, {50}, part);
  for (int64_t i = 0; i < 200; ++i) CHECK(part.data<float>()[i] == static_cast<float>(50 + i));
}

TEST_CASE("a checkpoint cut one way is read in any other") {
  const test::ScratchFolder folder;
  const Shape whole{5, 6};
  // Two writers: the left two columns, and the rest in two pieces.
  CheckpointFolderSink sink({folder.path(), our_run});
  write_checkpoint(
      sink, 3, metadata(),
      {{slice_of(whole, 0, 0, {5, 2})}, {slice_of(whole, 0, 2, {2, 4}), slice_of(whole, 2, 2, {3, 4})}});
  const Checkpoint checkpoint = Checkpoint::open(folder / "step-00000003");
  CHECK(checkpoint.step() == 3);
  Tensor all = host_tensor(whole);
  checkpoint.read("layer.weight", "weight", whole, {0, 0}, all);
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t j = 0; j < 6; ++j) CHECK(all.data<float>()[i * 6 + j] == static_cast<float>(10 * i + j));
  Tensor middle = host_tensor({3, 3});
  checkpoint.read("layer.weight", "weight", whole, {1, 1}, middle);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 3; ++j)
      CHECK(middle.data<float>()[i * 3 + j] == static_cast<float>(10 * i + j + 11));
}

TEST_CASE("a state that a checkpoint lacks, or has in another shape, is refused and named") {
  const test::ScratchFolder folder;
  write_one(folder.path(), 1);
  const Checkpoint checkpoint = Checkpoint::open(folder / "step-00000001");
  Tensor out = host_tensor({2, 2});
  CHECK_THROWS_AS(checkpoint.read("layer.weight", "exp_avg", {2, 2}, {0, 0}, out), UserError);
  CHECK_THROWS_WITH(
      checkpoint.read("layer.weight", "weight", {2, 3}, {0, 0}, out),
      folder / "step-00000001" + ": weight of 'layer.weight' has shape [2, 2], the model has [2, 3]");
}

TEST_CASE("a checkpoint of the same step is replaced, and no partial folder stays") {
  const test::ScratchFolder folder;
  write_one(folder.path(), 1);
  CheckpointFolderSink sink({folder.path(), our_run});
  write_checkpoint(sink, 1, metadata(8), {{slice_of({2, 2}, 0, 0, {2, 2})}});
  CHECK(names_in(folder.path()) == std::set<std::string>{"step-00000001"});
  CHECK(Checkpoint::open(folder / "step-00000001").metadata().at("position") == 8);
}

TEST_CASE("a purge keeps the newest up to the one just written, and nothing partial or later") {
  const test::ScratchFolder folder;
  for (const int64_t step : {10, 20, 30, 40}) write_one(folder.path(), step);
  CheckpointFolderSink sink({folder.path(), our_run});
  sink.write_shard(sink.begin(50), 0, {slice_of({2, 2}, 0, 0, {2, 2})});
  // Step 40 was damaged, say; the run went on from 20 and has written 30 anew.
  purge_checkpoints({folder.path(), our_run}, 30, {2});
  CHECK(names_in(folder.path()) == std::set<std::string>{"step-00000020", "step-00000030"});
}

TEST_CASE("a purge keeps the steps that keep_every divides") {
  const test::ScratchFolder folder;
  for (const int64_t step : {5, 10, 12, 15, 20, 24}) write_one(folder.path(), step);
  purge_checkpoints({folder.path(), our_run}, 20, {1, 0, 10});
  CHECK(names_in(folder.path()) == std::set<std::string>{"step-00000010", "step-00000020"});
}

TEST_CASE("a purge leaves what the run did not write, whatever it is called") {
  const test::ScratchFolder folder;
  for (const int64_t step : {1, 2, 3}) write_one(folder.path(), step);
  write_one(folder.path(), 4, other_run);
  const std::set<std::string> foreign = {"mine.pt",
                                         "step-6",
                                         "step-00000006.partial",
                                         "step-99999999999999999999999",
                                         "step-0000007",
                                         "step-00000008",
                                         "step--0000001",
                                         "x.partial",
                                         "step-",
                                         "step-00000009.old-1"};
  for (const std::string& name : foreign)
    if (name == "mine.pt" || name == "step-00000008")
      folder.write(name, "a file");
    else
      folder.write(name + "/notes.txt", "notes");
  folder.write("step-00000001/notes.txt", "notes");
  purge_checkpoints({folder.path(), our_run}, 3, {1});
  std::set<std::string> expected = foreign;
  expected.insert({"step-00000001", "step-00000003", "step-00000004"});
  CHECK(names_in(folder.path()) == expected);
  CHECK(names_in(folder / "step-00000001") == std::set<std::string>{marker_name, "notes.txt"});
  const auto newest = latest_checkpoint(folder.path());
  REQUIRE(newest);
  CHECK(newest->step() == 4);
}

TEST_CASE("what stands where a checkpoint is to be is moved aside, unless the run wrote it") {
  const test::ScratchFolder folder;
  folder.write("step-00000001.partial/notes.txt", "notes");
  SECTION("another run's checkpoint") {
    write_one(folder.path(), 1, other_run);
  }
  SECTION("a file") {
    folder.write("step-00000001", "a file");
  }
  SECTION("somebody's folder") {
    folder.write("step-00000001/notes.txt", "notes");
  }
  write_one(folder.path(), 1);
  CHECK(names_in(folder.path()) ==
        std::set<std::string>{"step-00000001", "step-00000001.old-1", "step-00000001.partial.old-1"});
  CHECK(Checkpoint::open(folder / "step-00000001").step() == 1);
}

TEST_CASE("a file that was put into a checkpoint stays when the run writes the checkpoint anew") {
  const test::ScratchFolder folder;
  write_one(folder.path(), 1);
  folder.write("step-00000001/notes.txt", "notes");
  write_one(folder.path(), 1);
  CHECK(names_in(folder.path()) == std::set<std::string>{"step-00000001"});
  CHECK(names_in(folder / "step-00000001") ==
        std::set<std::string>{marker_name, "manifest.json", "notes.txt", "shard-00000.safetensors"});
}

TEST_CASE("the newest checkpoint that verifies is found; a flipped byte is noticed") {
  const test::ScratchFolder folder;
  CHECK_FALSE(latest_checkpoint(folder.path()));
  write_one(folder.path(), 1);
  write_one(folder.path(), 2);
  const std::string shard = folder / "step-00000002/shard-00000.safetensors";
  std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  CHECK_THROWS_AS(Checkpoint::open(folder / "step-00000002"), UserError);
  const auto found = latest_checkpoint(folder.path());
  REQUIRE(found);
  CHECK(found->step() == 1);
}

}  // namespace collie
