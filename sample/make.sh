#!/usr/bin/env bash
# Makes the sample stream beside this script: HLS, fMP4, two quality levels, 60 s in segments of 2 s.
# Needs ffmpeg with libx264 and libfreetype. One encoder thread and bit-exact muxing: the same ffmpeg gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")"

fps=25
seconds=60
segment_seconds=2
gop=$((fps * segment_seconds))

# Slow plasma, drawn small and scaled up, under a clock that shows at a glance where a viewer is.
picture="nullsrc=size=160x90:rate=${fps}:duration=${seconds},format=gbrp,geq=\
r='124+68*sin(X/23+T*0.7)+56*sin(hypot(X-80-50*cos(T/5),Y-45-30*sin(T/4))/13-T)':\
g='108+60*sin(Y/17-T*0.6)+48*sin((X+Y)/31+T*0.9)':\
b='150+60*sin(hypot(X-40*sin(T/6)-80,Y-45)/11+T*0.5)+40*sin(X/19-T*0.4)',\
scale=640:360:flags=bicubic,format=yuv420p"
clock="drawtext=font=DejaVu Sans Mono:text='%{pts\:gmtime\:0\:%M\\\\\:%S}.%{eif\:mod(n\,${fps})\:d\:2}':\
fontsize=h/6:fontcolor=white:box=1:boxcolor=black@0.45:boxborderw=12:x=(w-tw)/2:y=(h-th)/2"
label() {
    echo "drawtext=font=DejaVu Sans:text='tabswarm $1':fontsize=h/20:fontcolor=white:x=16:y=h-th-16"
}
sound="sine=frequency=220:sample_rate=48000:duration=${seconds}[a0];sine=frequency=277.18:sample_rate=48000:duration=${seconds}[a1];\
sine=frequency=329.63:sample_rate=48000:duration=${seconds}[a2];\
[a0][a1][a2]amix=inputs=3,tremolo=f=0.25:d=0.8,volume=0.6,aresample=48000,asetnsamples=1024,asplit[low_sound][high_sound]"

trap 'echo "make.sh failed: the stream is incomplete" >&2' ERR
rm -rf low high master.m3u8
mkdir low high

ffmpeg -hide_banner -loglevel warning -y -filter_complex "\
${picture},split[low_in][high_in];\
[low_in]scale=426:240,${clock},$(label 240p)[low];\
[high_in]${clock},$(label 360p)[high];\
${sound}" \
    -map '[low]' -map '[low_sound]' -map '[high]' -map '[high_sound]' \
    -c:v libx264 -preset slow -threads 1 -pix_fmt yuv420p \
    -g "$gop" -keyint_min "$gop" -sc_threshold 0 -flags +cgop+bitexact -fflags +bitexact \
    -profile:v:0 baseline -b:v:0 110k -maxrate:v:0 130k -bufsize:v:0 220k \
    -profile:v:1 main -b:v:1 285k -maxrate:v:1 330k -bufsize:v:1 570k \
    -c:a aac -ac 1 -ar 48000 -b:a 32k \
    -f hls -hls_time "$segment_seconds" -hls_playlist_type vod -hls_flags independent_segments \
    -hls_segment_type fmp4 -hls_fmp4_init_filename init.mp4 -hls_segment_filename '%v/segment-%02d.m4s' \
    -var_stream_map 'v:0,a:0,name:low v:1,a:1,name:high' -master_pl_name master.m3u8 \
    '%v/playlist.m3u8'

# ffmpeg numbers the init segments of several variants; here each has its directory.
for level in low high; do
    mv "$level"/init_*.mp4 "$level/init.mp4"
    sed -i 's/init_[01]\.mp4/init.mp4/' "$level/playlist.m3u8"
done

du -cb master.m3u8 low/* high/* | tail -1
