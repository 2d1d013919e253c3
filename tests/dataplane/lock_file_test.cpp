// A lock that nobody else can take beforehand.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/lock_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace millrace::dataplane {
namespace {

namespace fs = std::filesystem;

struct LockFileTest : testing::Test {
    tl::expected<LockFile, std::string> take(const std::string& name = "a") {
        return LockFile::take(folder, name, "it is held");
    }
    std::string complaint() {
        auto lock = take();
        return lock ? "none" : lock.error();
    }
    test::TemporaryFolder temporary;
    fs::path base = temporary.path(), folder = base / "run";
};

TEST_F(LockFileTest, IsHeldOnceAndLeavesNothing) {
    {
        auto first = take();
        ASSERT_TRUE(first) << first.error();
        EXPECT_EQ(complaint(), "it is held");
        EXPECT_TRUE(fs::exists(folder / "a")) << "who came in vain has not removed it";
        EXPECT_TRUE(take("b"));
        LockFile moved = std::move(*first);
        EXPECT_EQ(complaint(), "it is held");
    }
    EXPECT_TRUE(fs::is_empty(folder));
    EXPECT_EQ(complaint(), "none");
}

TEST_F(LockFileTest, WhatADeadProcessLeftIsTakenOver) {
    fs::create_directory(folder);
    std::ofstream(folder / "a").close();
    EXPECT_EQ(complaint(), "none");
}

TEST_F(LockFileTest, AFolderThatOthersWriteToIsRefused) {
    fs::create_directory(folder);
    for (auto more : {fs::perms::others_write, fs::perms::group_write}) {
        fs::permissions(folder, fs::perms::owner_all | more);
        EXPECT_EQ(complaint(), "others than root can write to the folder " + folder.string());
    }
}

/// The command socket is in it too: members of its group come through.
TEST_F(LockFileTest, TheFolderIsOpenToAllWhateverTheUmask) {
    mode_t before = umask(0077);
    EXPECT_EQ(complaint(), "none");
    umask(before);
    EXPECT_EQ(fs::status(folder).permissions(), fs::perms(0755));
}

TEST_F(LockFileTest, NoLinkIsFollowed) {
    fs::create_directories(base / "elsewhere");
    fs::create_directory_symlink(base / "elsewhere", folder);
    EXPECT_NE(complaint(), "none");
    EXPECT_TRUE(fs::is_empty(base / "elsewhere"));
    fs::remove(folder);
    fs::create_directory(folder);
    fs::create_symlink(base / "target", folder / "a");
    EXPECT_NE(complaint(), "none");
    EXPECT_FALSE(fs::exists(base / "target"));
}

TEST_F(LockFileTest, WhatIsNotOurFileIsRefused) {
    fs::create_directory(folder);
    ASSERT_EQ(mkfifo((folder / "a").c_str(), 0600), 0);
    auto words = (folder / "a").string() + " is not a file that millrace has made; remove it";
    EXPECT_EQ(complaint(), words);
    fs::remove(folder / "a");
    std::ofstream(folder / "a").close();
    fs::permissions(folder / "a", fs::perms::others_write, fs::perm_options::add);
    EXPECT_EQ(complaint(), words);
    if (geteuid() != 0) return;
    fs::permissions(folder / "a", fs::perms::others_write, fs::perm_options::remove);
    ASSERT_EQ(chown((folder / "a").c_str(), 65534, 65534), 0);
    EXPECT_EQ(complaint(), words);
}

} // namespace
} // namespace millrace::dataplane
